// Connections to chDB. One runs one query at a time, so each kind of work has its own lanes and cannot starve another.

import { drainPending, Session } from 'chdb'
import { ChdbFault } from './chdb-faults.ts'
import { type Gate, openGate } from './gate.ts'
import { toLiteral } from './sql-text.ts'

// How many run at once, and how many may wait before the answer is 202. The sum is below UV_THREADPOOL_SIZE (clickhouse.ts).
const lanes = {
  interactive: { atOnce: 6, waitingMax: 256 },
  heavy: { atOnce: 2, waitingMax: 16 },
  insert: { atOnce: 2, waitingMax: 16 },
  statement: { atOnce: 1, waitingMax: 64 },
} as const

// A reader's limits; a client may ask for less, never for more.
const limits = {
  interactive: { max_execution_time: 30, max_memory_usage: 768 << 20 },
  heavy: { max_execution_time: 600, max_memory_usage: 1 << 30 },
} as const

// Every insert and statement: what makes a retry with the same token harmless, whatever this version's defaults are.
const pinned = new Map([
  ['async_insert', '0'],
  ['insert_deduplicate', '1'],
  ['deduplicate_blocks_in_dependent_materialized_views', '1'],
  ['materialized_views_ignore_errors', '0'],
  ['max_memory_usage', String(1 << 30)],
])

// Idle readers kept for their settings. Closing one waits for every query of the process, so changing often must be rare.
const idleMax = 16
const killEveryMs = 50

export type Wishes = { settings: ReadonlyMap<string, string>; database: string | undefined }

export type Lanes = {
  /** A read-only connection with these settings. `tag` goes in front of the text; aborting kills the query in the engine. */
  read<T>(
    options: Wishes & { lane: 'interactive' | 'heavy'; signal: AbortSignal },
    work: Work<T>,
  ): Promise<T>
  insert<T>(options: Wishes & { signal: AbortSignal }, work: Work<T>): Promise<T>
  /** A connection of its own, closed afterwards: what the statement sets stays with it. */
  statement<T>(options: Wishes & { signal: AbortSignal }, work: Work<T>): Promise<T>
  /** Goes through the engine on the connection that is always free. */
  ping(): Promise<void>
  running(): number
  /** Kills what still runs and closes every connection. */
  close(): Promise<void>
}

export type Work<T> = (session: Session, tag: string) => Promise<T>

export function openLanes(path: string, connectionArgs: readonly string[]): Lanes {
  const control = new Session(path, { connectionArgs })
  const gates = {
    interactive: gateOf('interactive'),
    heavy: gateOf('heavy'),
    insert: gateOf('insert'),
    statement: gateOf('statement'),
  }
  const idle: { key: string; session: Session }[] = []
  const tags = new Set<string>()
  let controlTail: Promise<unknown> = Promise.resolve()
  let lastTag = 0

  function onControl(sql: string): Promise<unknown> {
    const run = controlTail.then(() => control.queryAsync(sql, { format: 'Null' }))
    controlTail = run.catch(() => {})
    return run
  }

  // KILL … SYNC never returns in this engine. A query that has not yet begun cannot be killed, so ask until it is over.
  async function killUntilOver(tag: string): Promise<void> {
    while (tags.has(tag)) {
      await onControl(`KILL QUERY WHERE query LIKE ${toLiteral(`${tag}%`)} ASYNC`).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, killEveryMs))
    }
  }

  async function tagged<T>(session: Session, signal: AbortSignal, work: Work<T>): Promise<T> {
    signal.throwIfAborted()
    lastTag += 1
    const tag = `/* q${lastTag} */ `
    tags.add(tag)
    const kill = () => void killUntilOver(tag)
    signal.addEventListener('abort', kill, { once: true })
    try {
      return await work(session, tag)
    } finally {
      tags.delete(tag)
      signal.removeEventListener('abort', kill)
    }
  }

  async function prepared(wishes: Wishes, { readonly }: { readonly: boolean }): Promise<Session> {
    const session = new Session(path, { connectionArgs })
    try {
      if (wishes.database) await run(session, `USE ${toIdentifier(wishes.database)}`)
      const settings = [...wishes.settings].map(([name, value]) => `${name}=${toLiteral(value)}`)
      if (settings.length > 0) await run(session, `SET ${settings.join(', ')}`)
      // Last, because nothing can be set after it, and it cannot be taken back on this connection.
      if (readonly) await run(session, 'SET readonly=1')
      return session
    } catch (error) {
      session.close()
      throw error
    }
  }

  async function withIdle<T>(
    key: string,
    open: () => Promise<Session>,
    work: (s: Session) => Promise<T>,
  ): Promise<T> {
    const at = idle.findIndex((entry) => entry.key === key)
    const session = at < 0 ? await open() : idle.splice(at, 1)[0]!.session
    try {
      return await work(session)
    } finally {
      idle.push({ key, session })
      if (idle.length > idleMax) idle.shift()!.session.close()
    }
  }

  return {
    read: (options, work) =>
      gates[options.lane].pass(() => {
        const wishes = {
          database: options.database,
          settings: limited(options.settings, options.lane),
        }
        const key = JSON.stringify([wishes.database, [...wishes.settings].sort()])
        return withIdle(
          key,
          () => prepared(wishes, { readonly: true }),
          (session) => tagged(session, options.signal, work),
        )
      }, options.signal),
    insert: (options, work) =>
      gates.insert.pass(() => {
        const wishes = { database: options.database, settings: pinned }
        return withIdle(
          `insert ${options.database ?? ''}`,
          () => prepared(wishes, { readonly: false }),
          (session) => tagged(session, options.signal, work),
        )
      }, options.signal),
    statement: (options, work) =>
      gates.statement.pass(async () => {
        const wishes = {
          database: options.database,
          settings: new Map([...pinned, ...options.settings]),
        }
        const session = await prepared(wishes, { readonly: false })
        try {
          return await tagged(session, options.signal, work)
        } finally {
          session.close()
        }
      }, options.signal),
    ping: async () => {
      await onControl('SELECT 1')
    },
    running: () => tags.size,
    async close() {
      await Promise.all([...tags].map(killUntilOver))
      await controlTail
      for (const { session } of idle.splice(0)) session.close()
      control.close()
      await drainPending()
    },
  }
}

/**
 * Passes an error on, after the engine has let go of the query: what failed or was killed keeps its place in
 * system.processes, and its memory, until the connection runs something else.
 */
export async function afterFailure(session: Session, error: unknown): Promise<never> {
  await run(session, 'SELECT 1').catch(() => {})
  throw error
}

/** Runs a statement whose result nobody reads. */
export async function run(session: Session, sql: string): Promise<void> {
  await session.queryAsync(sql, { format: 'Null' })
}

function gateOf(name: keyof typeof lanes): Gate {
  return openGate({
    ...lanes[name],
    full: () => new ChdbFault(202, `Too many queries wait for the ${name} lane.`),
  })
}

function limited(
  asked: ReadonlyMap<string, string>,
  lane: keyof typeof limits,
): Map<string, string> {
  const settings = new Map(asked)
  for (const [name, cap] of Object.entries(limits[lane])) {
    const wish = Number(asked.get(name) ?? cap)
    settings.set(name, String(wish > 0 && wish < cap ? wish : cap))
  }
  // One core for scans: beside four of them, lookups kept their pace only then (measured).
  if (lane === 'heavy' && !asked.has('max_threads')) settings.set('max_threads', '1')
  return settings
}

function toIdentifier(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}
