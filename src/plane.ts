// The plane, put together: data directory, engines, stores, keys, spool, doors. Started in this order, stopped in reverse.

import { join } from 'node:path'
import type { Settings } from '../schemas/settings.ts'
import { isLoopback, loadAccounts } from './accounts/accounts.ts'
import { ensureFirstKey } from './accounts/keys.ts'
import { type Closer, closeInOrder } from './closing.ts'
import { type LiveConfig, openConfig } from './config.ts'
import { type DataDir, openDataDir } from './data-dir.ts'
import { openDoors } from './doors.ts'
import { startClickhouse } from './engines/clickhouse.ts'
import type { Engine, EngineState } from './engines/engine.ts'
import { startPostgres } from './engines/postgres.ts'
import { openEraser } from './erasing/erasing.ts'
import { keepFor } from './erasing/retention.ts'
import { openWishes } from './erasing/wishes.ts'
import type { Route } from './http/app.ts'
import { openGrpcDoor } from './http/grpc-door.ts'
import { openListener } from './http/listener.ts'
import { mediaDirOf, openMedia } from './jobs/media.ts'
import { openKeptAnswers } from './kept-answers.ts'
import { type Metrics, openMetrics } from './metrics.ts'
import { openBooks } from './money/books.ts'
import { packageRoot, packageVersion } from './root.ts'
import { openIntake } from './spooling.ts'
import { type Clickhouse, connectClickhouse } from './stores/clickhouse.ts'
import { loadPlaneId } from './stores/plane-id.ts'
import { connectPostgres, type Postgres } from './stores/postgres.ts'
import { openWatermark } from './stores/watermark.ts'

export type Plane = {
  url: string
  version: string
  /** The key in clear, when this start made one. */
  madeKey: string | undefined
  provider: string
  /** What it answers. */
  routes: readonly Route[]
  /** Where OTLP over gRPC listens, when it does. */
  otlpGrpcPort: number | undefined
  startedInMs: number
  /** Reads the configuration again; false when it was bad and the one before stays. */
  reload(): Promise<boolean>
  /** Waits for calls in progress, at most ten seconds, or until `hurry` aborts. */
  stop(hurry?: AbortSignal): Promise<void>
}

export type PlaneIo = {
  log: (line: string) => void
  /** Aborts a start that is no longer wanted. */
  signal: AbortSignal
  /** Texts of the variables that the configuration names; absent: none is set. */
  env?: (name: string) => string | undefined
}

/** Resolves once it can take traffic. A start that fails stops what it had begun and rejects with a sentence. */
export async function startPlane(settings: Settings, io: PlaneIo): Promise<Plane> {
  const startedAt = performance.now()
  const closers: Closer[] = []
  try {
    const started = await start(settings, io, closers)
    return {
      ...started,
      startedInMs: performance.now() - startedAt,
      stop: (hurry) => closeInOrder(closers, io.log, hurry),
    }
  } catch (error) {
    await closeInOrder(closers, io.log)
    throw error
  }
}

async function start(settings: Settings, io: PlaneIo, closers: Closer[]) {
  const { log } = io
  const nowMs = Date.now
  const version = packageVersion()
  const metrics = openMetrics()
  const config = await openConfig({
    settings,
    env: io.env ?? (() => undefined),
    counters: metrics,
    nowMs,
    log,
  })
  closers.push({ name: 'configuration', close: async () => config.close() })
  // Listening comes first: whoever asks while the engines start is told 503, not refused.
  const dataDir = await openDataDir(settings.dataDir)
  closers.push({ name: 'data directory', close: () => dataDir.release() })
  const listener = await openListener({ host: settings.host, port: settings.port }, metrics)
  closers.push({ name: 'listener', close: () => listener.close() })

  const stores = await openStores(settings, dataDir, io, closers)
  io.signal.throwIfAborted()
  await holdRetention({ config, clickhouse: stores.clickhouse, log })
  const kept = await openKept({ settings, dataDir, stores, config, metrics, nowMs, log }, closers)
  const { books, accounts, spool, media, planeId, watermark, wishes, keptAnswers } = kept
  const doors = await openDoors({
    ...{ settings, version, metrics, nowMs, log, spool, config, planeId, watermark, wishes },
    ...stores,
    ...accounts,
    money: books.money,
    keptAnswers,
    media,
    url: () => listener.url,
  })
  closers.push({ name: 'doors', close: () => doors.close() })
  books.recover()
  const grpc = await openGrpcDoor(settings, { ...doors.otlp, keys: accounts.keys, log })
  if (grpc) closers.push({ name: 'gRPC listener', close: () => grpc.close() })
  io.signal.throwIfAborted()
  // Last, because a key is shown once: a start that fails before this has made none.
  const mayMake = isLoopback(settings.host)
  const madeKey = await ensureFirstKey(stores.postgres, settings.bootstrapKey, mayMake)
  listener.serve(doors.answer)
  // The listeners go first: calls in progress finish and are written before anything below them stops. Experiments stop in the
  // same moment, because they call ourselves.
  const drain = async (hurry?: AbortSignal) => {
    const experiments = doors.engine.close()
    await Promise.all([listener.drain(doors.interrupt, hurry), grpc?.drain(), experiments])
  }
  closers.push({ name: 'calls', close: drain })
  doors.engine.start()
  return {
    url: listener.url,
    version,
    madeKey,
    provider: doors.provider,
    routes: doors.routes,
    otlpGrpcPort: grpc?.port,
    reload: () => config.reload(),
  }
}

/** The time to live of the tables follows the configuration, also while it runs. */
async function holdRetention(deps: {
  config: LiveConfig
  clickhouse: Clickhouse
  log: (line: string) => void
}): Promise<void> {
  const { config, clickhouse, log } = deps
  const hold = (days: number) =>
    keepFor(clickhouse, days).then(
      (altered) => {
        if (altered.length > 0) log(`kept for ${days} days from now on: ${altered.join(', ')}`)
      },
      // What is kept too long is no reason not to start.
      (error) => log(`retention stays as it was: ${String(error)}`),
    )
  config.onChange((next) => void hold(next.retentionDays))
  await hold(config.current().retentionDays)
}

/** What outlives a request: who may call, what was accepted, what was spent. */
async function openKept(
  deps: {
    settings: Settings
    dataDir: DataDir
    stores: Stores
    config: LiveConfig
    metrics: Metrics
    nowMs: () => number
    log: (line: string) => void
  },
  closers: Closer[],
) {
  const { settings, dataDir, stores, config, metrics, nowMs, log } = deps
  const accounts = await loadAccounts({
    settings,
    dataDir: dataDir.path,
    sql: stores.postgres,
    nowMs,
  })
  const media = await openMedia({
    ...{ dir: mediaDirOf(settings, dataDir), counters: metrics, nowMs, config, log },
  })
  closers.push({ name: 'media', close: () => media.close() })
  const spool = await openIntake({
    dir: dataDir.sub('spool'),
    clickhouse: stores.clickhouse,
    erase: openEraser({ clickhouse: stores.clickhouse, sql: stores.postgres, media }),
    metrics,
    nowMs,
    log,
  })
  closers.push({ name: 'spool', close: () => spool.close() })
  const planeId = await loadPlaneId(dataDir.path)
  const watermark = await openWatermark({
    ...{ id: planeId, sql: stores.postgres, spool, counters: metrics, log },
  })
  // Below the spool: it is closed when the spool is, and says what was loaded by then.
  closers.splice(-1, 0, { name: 'watermark', close: () => watermark.close() })
  const wishes = await openWishes({
    ...{ planeId, sql: stores.postgres, spool, counters: metrics, log },
  })
  closers.push({ name: 'wishes', close: () => wishes.close() })
  const books = await openBooks({
    settings,
    config: () => config.current(),
    planeId,
    sql: stores.postgres,
    rows: stores.clickhouse,
    keys: accounts.keys,
    counters: metrics,
    log,
    flush: (deadlineMs) => spool.flush(deadlineMs),
  })
  closers.push({ name: 'books', close: () => books.close() })
  const keptAnswers = openKeptAnswers({
    sql: stores.postgres,
    sealingKey: accounts.answerKey,
    counters: metrics,
    log,
  })
  closers.push({ name: 'kept answers', close: () => keptAnswers.close() })
  return { accounts, spool, media, books, planeId, watermark, wishes, keptAnswers }
}

export type Stores = {
  clickhouse: Clickhouse
  postgres: Postgres
  engines: () => Record<'clickhouse' | 'postgres', EngineState | 'external'>
}

/** Both stores, ready and migrated. Embedded ones are started side by side; the plane does not know which it has. */
async function openStores(
  settings: Settings,
  dataDir: DataDir,
  io: PlaneIo,
  closers: Closer[],
): Promise<Stores> {
  const keep = <E extends Engine>(name: string, engine: E): E => {
    closers.push({ name, close: () => engine.stop() })
    return engine
  }
  const [clickhouseEngine, postgresEngine] = await settle([
    settings.clickhouseUrl
      ? undefined
      : startClickhouse({ dir: dataDir.sub('clickhouse'), log: io.log }).then((engine) =>
          keep('ClickHouse', engine),
        ),
    settings.databaseUrl
      ? undefined
      : startPostgres({ dir: dataDir.sub('postgres'), log: io.log }).then((engine) =>
          keep('Postgres', engine),
        ),
  ] as const)
  const clickhouse = connectClickhouse(settings.clickhouseUrl ?? clickhouseEngine?.url ?? '')
  closers.push({ name: 'ClickHouse client', close: () => clickhouse.close() })
  const postgres = connectPostgres(settings.databaseUrl ?? postgresEngine?.config ?? '', {
    log: io.log,
  })
  closers.push({ name: 'Postgres client', close: () => postgres.close() })
  await postgres.migrate()
  // ClickHouse has no lock of its own for several planes that start at once.
  await postgres.exclusively(() => clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse')))
  return {
    clickhouse,
    postgres,
    engines: () => ({
      clickhouse: clickhouseEngine?.state() ?? 'external',
      postgres: postgresEngine?.state() ?? 'external',
    }),
  }
}

// All of them settle before one failure is thrown, so that whatever did start is among the closers.
async function settle<T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results = await Promise.allSettled(work)
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return results.map((result) => (result.status === 'fulfilled' ? result.value : undefined)) as {
    -readonly [K in keyof T]: Awaited<T[K]>
  } // every result above was fulfilled
}
