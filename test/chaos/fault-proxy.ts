// A TCP connection that somebody has their foot on: passes, refuses, or breaks what is under way.

import { connect, createServer, type Server, type Socket } from 'node:net'

export type FaultProxy = {
  port: number
  /** Breaks every connection and takes no new one. */
  refuse(): Promise<void>
  pass(): Promise<void>
  close(): Promise<void>
}

export async function openFaultProxy(to: { host: string; port: number }): Promise<FaultProxy> {
  const open = new Set<Socket>()
  let server: Server | undefined
  let port = 0

  async function listen(): Promise<void> {
    if (server) return
    const made = createServer((socket) => {
      const onward = connect(to)
      for (const one of [socket, onward]) {
        open.add(one)
        one.on('error', () => {})
        one.on('close', () => {
          open.delete(one)
          socket.destroy()
          onward.destroy()
        })
      }
      socket.pipe(onward).pipe(socket)
    })
    await new Promise<void>((resolve, reject) => {
      made.once('error', reject)
      made.listen(port, '127.0.0.1', resolve)
    })
    const address = made.address()
    if (typeof address === 'object' && address) port = address.port
    server = made
  }

  async function refuse(): Promise<void> {
    const closing = server
    server = undefined
    for (const socket of open) socket.resetAndDestroy()
    if (closing) await new Promise((resolve) => closing.close(resolve))
  }

  await listen()
  return {
    get port() {
      return port
    },
    refuse,
    pass: listen,
    close: refuse,
  }
}
