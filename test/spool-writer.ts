// The child process of the crash test: writes without end, says on stdout what was acknowledged, drains to its parent.

import { writeSync } from 'node:fs'
import { request } from 'node:http'
import { openSpool } from '../collectors/spool/spool.ts'
import { pushSpan } from './spool-rows.ts'

const [dir = '', port = '', round = ''] = process.argv.slice(2)

const spool = await openSpool({
  dir,
  nowMs: Date.now,
  counters: { count: () => {} },
  log: () => {},
  limits: {
    segmentBytes: 256 * 1024,
    sliceBytes: 64 * 1024,
    aheadBytes: 128 * 1024,
    freeBytesMin: 0,
    freeShareMin: 0,
    retainedBytes: 512 * 1024,
    drainEveryMs: 5,
    backoffFirstMs: 5,
  },
})

spool.drainTo(
  (table, body, { token, rows, signal }) =>
    new Promise((resolve, reject) => {
      const headers = { token, rows, table }
      const post = request({ port, method: 'POST', headers, signal, agent: false }, (answer) => {
        answer.resume()
        answer.on('end', resolve)
        answer.on('error', reject)
      })
      post.on('error', reject)
      post.end(Buffer.concat([...body]))
    }),
)

for (let writer = 0; writer < 8; writer++) void writeForEver(writer)

async function writeForEver(writer: number): Promise<never> {
  for (let i = 0; ; i++) {
    const names = Array.from({ length: 1 + (i % 3) }, (_, row) => `${round}.${writer}.${i}.${row}`)
    await spool.write((batch) => {
      for (const name of names) pushSpan(batch, name)
    })
    writeSync(1, `${names.join('\n')}\n`)
  }
}
