// A TCP connection that somebody has their foot on: passes, refuses, hangs, or breaks what is under way.

import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * `deaf`: takes connections and reads nothing. `mute`: passes requests on, and keeps the answers. `cut requests`: breaks a
 * connection in the middle of what it sends. `cut answers`: breaks it where its answer would begin.
 */
export type Flow = 'pass' | 'deaf' | 'mute' | 'cut requests' | 'cut answers'

export type FaultProxy = {
  port: number
  /** Breaks every connection and takes no new one. */
  refuse(): Promise<void>
  pass(): Promise<void>
  /** From now on, for connections that are open too; what was held back goes on with `pass`. */
  flow(flow: Flow): void
  /** Breaks every connection; new ones are taken. */
  reset(): void
  close(): Promise<void>
}

// More than a question, less than an insert.
const requestBytesPassed = 20_000

type Pair = { socket: Socket; onward: Socket; sent: number }

export async function openFaultProxy(to: { host: string; port: number }): Promise<FaultProxy> {
  const open = new Set<Pair>()
  let server: Server | undefined
  let port = 0
  let flow: Flow = 'pass'

  function breakOff({ socket, onward }: Pair): void {
    for (const one of [socket, onward]) one.resetAndDestroy()
  }

  function hold({ socket, onward }: Pair): void {
    if (flow === 'deaf') socket.pause()
    else socket.resume()
    if (flow === 'mute') onward.pause()
    else onward.resume()
  }

  function take(socket: Socket): void {
    const pair = { socket, onward: connect(to), sent: 0 }
    const { onward } = pair
    open.add(pair)
    for (const one of [socket, onward]) {
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(pair)
        socket.destroy()
        onward.destroy()
      })
    }
    socket.on('data', (bytes) => {
      pair.sent += bytes.length
      onward.write(bytes)
      if (flow === 'cut requests' && pair.sent > requestBytesPassed) breakOff(pair)
    })
    onward.on('data', (bytes) => {
      if (flow === 'cut answers') breakOff(pair)
      else socket.write(bytes)
    })
    hold(pair)
  }

  async function listen(): Promise<void> {
    if (server) return
    const made = createServer(take)
    await new Promise<void>((resolve, reject) => {
      made.once('error', reject)
      made.listen(port, '127.0.0.1', resolve)
    })
    const address = made.address()
    if (typeof address === 'object' && address) port = address.port
    server = made
  }

  function reset(): void {
    for (const pair of open) breakOff(pair)
  }

  async function refuse(): Promise<void> {
    const closing = server
    server = undefined
    reset()
    if (closing) await new Promise((resolve) => closing.close(resolve))
  }

  await listen()
  return {
    get port() {
      return port
    },
    refuse,
    pass: listen,
    flow(next) {
      flow = next
      for (const pair of open) hold(pair)
    },
    reset,
    close: refuse,
  }
}
