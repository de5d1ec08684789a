// VaaS behind real HTTP, on real ClickHouse. Keys are in memory, and the spool is one block loaded at once.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Router from '@koa/router'
import type { Batch, Intake } from '../collectors/spool/intake.ts'
import { NativeBlock } from '../collectors/spool/native.ts'
import { pushRecord } from '../collectors/spool/rows.ts'
import type { Caller } from '../schemas/caller.ts'
import { newId, toPrefixed, toUuid } from '../schemas/ids.ts'
import type { RecordFacts, SignedRecord } from '../schemas/record.ts'
import type { Keys } from '../src/accounts/keys.ts'
import { vaasRoutes } from '../src/api/vaas.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { createApp } from '../src/http/app.ts'
import { openMetrics } from '../src/metrics.ts'
import { openEvidence } from '../src/records/evidence.ts'
import { openLedger } from '../src/records/ledger.ts'
import { openRecords } from '../src/records/records.ts'
import { packageRoot } from '../src/root.ts'
import { connectClickhouse } from '../src/stores/clickhouse.ts'
import { buildChild } from './build-child.ts'
import { facts, memorySql, workspace } from './signed.ts'

export type VaasWorld = Awaited<ReturnType<typeof startVaasWorld>>

// By their bearer tokens.
const callers: Record<string, Caller> = {
  owner: { workspace, keyId: 'k1', scopes: ['proxy', 'read'], by: 'key' },
  stranger: { workspace: toUuid(newId()), keyId: 'k2', scopes: ['proxy', 'read'], by: 'key' },
  reader: { workspace, keyId: 'k3', scopes: ['read'], by: 'key' },
}

export async function startVaasWorld() {
  await buildChild()
  const dir = await mkdtemp(join(tmpdir(), 'vaas-'))
  const engine = await startClickhouse({ dir: join(dir, 'clickhouse'), log: () => {} })
  const clickhouse = connectClickhouse(engine.url)
  await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
  const ledger = await openLedger({ sql: memorySql(), masterKey: Buffer.alloc(32, 1) })
  let seq = 1n

  const intake: Intake = {
    async write(fill) {
      const records = new NativeBlock('records')
      const result = fill({ records } as Batch) // records are all that VaaS writes
      const body = records.seal(seq++, Math.floor(Date.now() / 1000))
      await clickhouse.insertNative('records', body, { token: toUuid(newId()) })
      return result
    },
  }
  const store = async (...signed: SignedRecord[]) => {
    for (const one of signed) await intake.write((batch) => pushRecord(batch, one))
  }
  const world = {
    ledger,
    store,
    /** Accepted, and in ClickHouse only after a flush. */
    waiting: [] as SignedRecord[],
    flushed: 0,
    ask,
    sign,
    async end() {
      server.close()
      await clickhouse.close()
      await engine.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }

  const router = new Router()
  vaasRoutes(router, {
    records: openRecords({
      rows: clickhouse,
      async flush() {
        world.flushed += 1
        await store(...world.waiting.splice(0))
      },
    }),
    evidence: openEvidence(ledger),
    ledger,
    intake,
    environment: 'development',
  })
  const keys: Pick<Keys, 'find' | 'findSession'> = {
    find: async (token) => callers[token],
    findSession: async () => undefined,
  }
  const app = createApp({
    keys: keys as Keys, // the routes under test open and close no session
    metrics: openMetrics(),
    log: () => {},
    doors: [],
    router,
  })
  const server = createServer(app.callback()).listen(0, '127.0.0.1')
  await new Promise((listening) => server.once('listening', listening))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  async function ask(path: string, init: { as?: string; post?: unknown } = {}) {
    const isPost = init.post !== undefined
    const response = await fetch(url + path, {
      method: isPost ? 'POST' : 'GET',
      headers: {
        ...(init.as ? { Authorization: `Bearer ${init.as}` } : {}),
        ...(isPost ? { 'Content-Type': 'application/json' } : {}),
      },
      ...(isPost ? { body: JSON.stringify(init.post) } : {}),
    })
    const body = (await response.json()) as Record<string, unknown> // every answer here is an object
    return { status: response.status, headers: response.headers, body }
  }

  /** A call of just now, signed in both phases and stored nowhere yet. */
  async function sign(changes: Partial<RecordFacts> = {}) {
    const now = Date.now()
    const call = facts({
      recordId: newId(),
      startedAt: new Date(now - 800),
      completedAt: new Date(now),
      ...changes,
    })
    const signer = await ledger.signerOf(call.workspace)
    const begun = signer.begin(call)
    return { id: toPrefixed('vaas', call.recordId), call, begun, final: signer.final(call, begun) }
  }

  return world
}
