// The proxy alone in a process of its own: Koa, real signing, rows built and sealed, a memory in place of the disk.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Koa, { type Context } from 'koa'
import { EnvelopeBook } from '../../collectors/otlp/envelopes.ts'
import { createOutbound } from '../../collectors/proxy/outbound.ts'
import { chatCompletions } from '../../collectors/proxy/route.ts'
import { openaiUpstream } from '../../collectors/proxy/upstream.ts'
import type { Batch, Intake } from '../../collectors/spool/intake.ts'
import { NativeBlock } from '../../collectors/spool/native.ts'
import type { Caller } from '../../schemas/caller.ts'
import { newId, toPrefixed } from '../../schemas/ids.ts'
import { testSigners, workspace } from '../proxy-world.ts'

const caller: Caller = { workspace, keyId: 'key_1', scopes: ['proxy'], by: 'key' }

const chat = chatCompletions({
  upstream: openaiUpstream({
    outbound: createOutbound(),
    baseUrl: String(process.argv[2]),
    apiKey: 'sk-bench',
  }),
  intake: memoryIntake(),
  envelopes: new EnvelopeBook(),
  signerOf: testSigners(),
  prompts: { link: (_workspace, slug, version) => `${slug}@${version ?? 'v1'}` },
  counters: { count() {} },
  nowMs: Date.now,
  environment: 'bench',
})

const app = new Koa()
app.use((ctx: Context) => {
  ctx.state.caller = caller
  ctx.state.requestId = toPrefixed('req', newId())
  return chat(ctx)
})
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo // listening on TCP
process.send?.({ port })
process.on('message', () =>
  process.send?.({ cpu: process.cpuUsage(), memory: process.memoryUsage.rss() }),
)
process.on('disconnect', () => process.exit())

/** Writes gather into one batch until the next turn of the loop, then it is sealed and dropped, as a spool would keep it. */
function memoryIntake(): Intake {
  let open: { batch: Batch; sealed: Promise<void> } | undefined
  let seq = 1n
  return {
    async write(fill) {
      open ??= openBatch()
      const { batch, sealed } = open
      const result = fill(batch)
      await sealed
      return result
    },
  }

  function openBatch() {
    const batch: Batch = {
      spans: new NativeBlock('spans'),
      payloads: new NativeBlock('payloads'),
      envelopes: new NativeBlock('envelopes'),
      records: new NativeBlock('records'),
    }
    const sealed = new Promise<void>((resolve) => {
      setImmediate(() => {
        open = undefined
        for (const block of Object.values(batch)) {
          if (block.rows === 0) continue
          block.seal(seq, 1)
          seq += BigInt(block.rows)
        }
        resolve()
      })
    })
    return { batch, sealed }
  }
}
