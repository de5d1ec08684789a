// The least a durable receiver can do, to compare with: gunzip each body, append it to a file, one fdatasync for all that wait, 200.
// Started with a file name; prints its port.

import { open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { promisify } from 'node:util'
import zlib from 'node:zlib'

const gunzip = promisify(zlib.gunzip)
const file = await open(process.argv[2], 'w')
let waiting = []
let isSyncing = false

async function sync() {
  isSyncing = true
  while (waiting.length > 0) {
    const batch = waiting
    waiting = []
    await file.writev(batch.map(({ body }) => body))
    await file.datasync()
    for (const { done } of batch) done()
  }
  isSyncing = false
}

const server = createServer(async (req, res) => {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const body = await gunzip(Buffer.concat(chunks))
  await new Promise((done) => {
    waiting.push({ body, done })
    if (!isSyncing) void sync()
  })
  res.writeHead(200, { 'Content-Length': 0 }).end()
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.on('SIGTERM', () => process.exit(0))
