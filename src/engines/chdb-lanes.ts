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
  /** Kills what still runs and closes every connection. */
  close(): Promise<void>
}

export type Work<T> = (session: Session, tag: string) => Promise<T>

export function openLanes(path: string, connectionArgs: readonly string[]): Lanes {
  const control = openControl(new Session(path, { connectionArgs }))
  const kept = keepIdle()
  const gates = {
    interactive: gateOf('interactive'),
    heavy: gateOf('heavy'),
    insert: gateOf('insert'),
    statement: gateOf('statement'),
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

  return {
    read: ({ lane, database, settings: asked, signal }, work) =>
      gates[lane].pass(() => {
        const settings = limited(asked, lane)
        const key = JSON.stringify([database, [...settings].sort()])
        const open = () => prepared({ database, settings }, { readonly: true })
        return kept.use(key, open, (session) => control.tagged(session, signal, work))
      }, signal),
    insert: ({ database, signal }, work) =>
      gates.insert.pass(() => {
        const open = () => prepared({ database, settings: pinned }, { readonly: false })
        return kept.use(`insert ${database ?? ''}`, open, (session) =>
          control.tagged(session, signal, work),
        )
      }, signal),
    statement: ({ database, settings, signal }, work) =>
      gates.statement.pass(async () => {
        const wishes = { database, settings: new Map([...pinned, ...settings]) }
        const session = await prepared(wishes, { readonly: false })
        try {
          return await control.tagged(session, signal, work)
        } finally {
          session.close()
        }
      }, signal),
    ping: () => control.run('SELECT 1'),
    async close() {
      await control.killAll()
      kept.close()
      control.close()
      await drainPending()
    },
  }
}

/** The connection that no query of a client ever takes: it looks whether the engine lives, and kills. */
function openControl(session: Session) {
  const tags = new Set<string>()
  let lastTag = 0
  let tail: Promise<unknown> = Promise.resolve()

  function inTurn(sql: string): Promise<void> {
    const turn = tail.then(() => run(session, sql))
    tail = turn.catch(() => {})
    return turn
  }

  // KILL … SYNC never returns in this engine. A query that has not yet begun cannot be killed, so ask until it is over.
  async function killUntilOver(tag: string): Promise<void> {
    while (tags.has(tag)) {
      const kill = `KILL QUERY WHERE query LIKE ${toLiteral(`${tag}%`)} ASYNC`
      await inTurn(kill).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, killEveryMs))
    }
  }

  return {
    run: inTurn,
    async tagged<T>(reader: Session, signal: AbortSignal, work: Work<T>): Promise<T> {
      signal.throwIfAborted()
      lastTag += 1
      const tag = `/* q${lastTag} */ `
      tags.add(tag)
      const kill = () => void killUntilOver(tag)
      signal.addEventListener('abort', kill, { once: true })
      try {
        return await work(reader, tag)
      } finally {
        tags.delete(tag)
        signal.removeEventListener('abort', kill)
      }
    },
    async killAll(): Promise<void> {
      await Promise.all([...tags].map(killUntilOver))
      await tail
    },
    close: () => session.close(),
  }
}

/** Connections that are ready for the next query with the same settings. */
function keepIdle() {
  const idle: { key: string; session: Session }[] = []
  return {
    async use<T>(
      key: string,
      open: () => Promise<Session>,
      work: (session: Session) => Promise<T>,
    ): Promise<T> {
      const at = idle.findIndex((entry) => entry.key === key)
      const session = at < 0 ? await open() : idle.splice(at, 1)[0]!.session
      try {
        return await work(session)
      } finally {
        idle.push({ key, session })
        if (idle.length > idleMax) idle.shift()!.session.close()
      }
    },
    close(): void {
      for (const { session } of idle.splice(0)) session.close()
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
