// What ClickHouse pays for a row, by the size of an insert: the spool's own drain into the embedded engine, every view included.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { EnvelopeBook } from '../../collectors/otlp/envelopes.ts'
import { takeSpans } from '../../collectors/otlp/take.ts'
import { openSpool } from '../../collectors/spool/spool.ts'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import { packageRoot } from '../../src/root.ts'
import { connectClickhouse } from '../../src/stores/clickhouse.ts'
import { cpuSeconds, familyOf } from '../product.ts'
import { batchMaker } from './batches.ts'

const spansPerRequest = 500
const spans = 400_000
const sizes = [5_000, 20_000, 50_000, 100_000, 200_000]
const mebi = 1 << 20

export type Figure = { name: string; figure: number | string; unit: string; reference?: string }

export const method = `A backlog of ${spans} spans of 12 attributes in the spool, drained with nothing coming in, at most so many spans an insert. CPU of the engine and of the drain, per span; two tables and all views.`

export async function run(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), 'drain-bench-'))
  const engine = await startClickhouse({ dir: join(dir, 'clickhouse'), log: () => {} })
  const clickhouse = connectClickhouse(engine.url)
  const [child] = familyOf(process.pid).filter((pid) => pid !== process.pid)
  const counters = { count: () => {} }
  const next = batchMaker('protobuf', spansPerRequest).next
  const figures: Figure[] = []
  try {
    await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
    for (const drainRows of sizes) {
      const spool = await openSpool({
        ...{ dir: join(dir, `spool-${drainRows}`), nowMs: Date.now, counters, log: () => {} },
        limits: { drainRows, drainBytes: 1024 * mebi, heldBytes: 1024 * mebi },
      })
      const deps = { intake: spool, prompts: { link: () => '' }, counters, nowMs: Date.now }
      const envelopes = new EnvelopeBook()
      const taken = { encoding: 'protobuf', workspace: 'bench', strict: false } as const
      for (let sent = 0; sent < spans; sent += spansPerRequest)
        await takeSpans({ ...taken, body: gunzipSync(next()) }, { ...deps, envelopes })
      const [engineS, own, startedAt] = [
        cpuSeconds(child ?? 0),
        process.cpuUsage(),
        performance.now(),
      ]
      spool.drainTo((table, body, { token }) => clickhouse.insertNative(table, body, { token }))
      if (!(await spool.flush(600_000))) throw new Error('not drained within ten minutes')
      const seconds = (performance.now() - startedAt) / 1_000
      const { user, system } = process.cpuUsage(own)
      const perSpan = (cpuS: number) => ((cpuS * 1e6) / spans).toFixed(2)
      figures.push({
        name: `${drainRows} spans an insert`,
        figure: `${perSpan(cpuSeconds(child ?? 0) - engineS)} + ${perSpan((user + system) / 1e6)}`,
        unit: 'µs a span, engine + drain',
        reference: `${Math.round(spans / seconds)} spans/s`,
      })
      await spool.close()
    }
    return figures
  } finally {
    await clickhouse.close()
    await engine.stop()
    await rm(dir, { recursive: true, force: true })
  }
}
