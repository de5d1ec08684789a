// A client that takes nothing is let go; one that waits for a quiet upstream is not.

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test } from 'vitest'
import { sendKept } from '../collectors/proxy/idempotency.ts'
import { endWhenStalled } from '../collectors/proxy/streams/stalled.ts'

async function answering(): Promise<{
  res: ServerResponse
  port: number
  end: () => void
  socket: ReturnType<typeof connect>
}> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const [, res] = await once(server, 'request')
  const end = () => {
    socket.destroy()
    server.closeAllConnections()
    server.close()
  }
  return { res, port, end, socket }
}

test('an answer that has nothing to give stays, however long it is quiet', async () => {
  const { res, end, socket } = await answering()
  endWhenStalled(res, 50)
  res.write('first')
  await once(socket, 'data')
  await once(res, 'timeout')
  expect(res.destroyed).toBe(false)
  res.write('second')
  expect(String((await once(socket, 'data'))[0])).toContain('second')
  end()
})

test('an answer of which nothing is taken ends', async () => {
  const { res, end, socket } = await answering()
  socket.pause()
  endWhenStalled(res, 50)
  while (res.write(Buffer.alloc(1024 * 1024)) || res.writableLength < 16 * 1024 * 1024);
  await once(res, 'close')
  expect(res.destroyed).toBe(true)
  end()
})

test('an answer that is given again is watched as any other', async () => {
  const { res, end, socket } = await answering()
  sendKept(res, 'req', { status: 200, headers: [], body: Buffer.from('kept') })
  expect(res.listenerCount('timeout')).toBe(1)
  expect(String((await once(socket, 'data'))[0])).toContain('kept')
  end()
})
