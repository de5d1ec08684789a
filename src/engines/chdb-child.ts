// The child that holds chDB: opens the data directory it is told, serves it over HTTP, and never outlives its parent.

import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { createChdbHttp } from './chdb-http.ts'
import { openLanes } from './chdb-lanes.ts'
import { Pace } from './pace.ts'
import { recordProcess } from './process-record.ts'

export type ToChild =
  | { type: 'open'; dir: string; port: number; user: string; password: string }
  | { type: 'stop' }
export type FromChild = { type: 'ready'; port: number } | { type: 'failed'; says: string }

// Small caches: a laptop's console reads recent data, and the page cache holds the files anyway.
const engineArgs = [
  '--max_server_memory_usage=1610612736',
  '--mark_cache_size=67108864',
  '--index_mark_cache_size=16777216',
  '--primary_index_cache_size=67108864',
  '--uncompressed_cache_size=0',
  '--mmap_cache_size=0',
  '--query_condition_cache_size=16777216',
  '--async_insert=0',
  '--http_max_tries=1',
  '--output_format_json_quote_64bit_integers=1',
]

// Inserts and merges can wait a moment; a call under way in the plane should not wait for them. Threads of the engine inherit it.
const niceness = 5
setPriority(niceness)
const lookEveryMs = 250
const pace = new Pace({ nowMs: () => performance.now(), say: sayNiceness })
setInterval(() => pace.look(), lookEveryMs).unref()

const send = (message: FromChild) => process.send?.(message)

// The parent decides when; a signal to everybody (Ctrl-C, a service manager) must not take the database away first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

// The parent is gone. Queries may be running, so there is no clean way to end, and the engine needs none.
const endWithParent = () => process.kill(process.pid, 'SIGKILL')
process.on('disconnect', endWithParent)
if (!process.connected) endWithParent()

let stop = async () => {}

process.on('message', (message: ToChild) => {
  if (message.type === 'open') void open(message).catch(fail)
  else void stop().catch(fail)
})

async function open(options: Extract<ToChild, { type: 'open' }>): Promise<void> {
  recordProcess(join(options.dir, 'child.pid'), process.pid)
  const data = join(options.dir, 'data')
  const lanes = openLanes(data, [
    ...engineArgs,
    `--backups.allowed_path=${join(options.dir, 'backups')}/`,
  ])
  await lanes.ping()
  const { user, password } = options
  const spillDir = join(options.dir, 'spill')
  const server = createChdbHttp({ lanes, pace, spillDir, user, password })
  stop = async () => {
    server.close()
    server.closeIdleConnections()
    await lanes.close()
    server.closeAllConnections()
    process.off('disconnect', endWithParent)
    process.disconnect()
  }
  server.on('error', fail)
  server.listen(options.port, '127.0.0.1', () => {
    const address = server.address()
    if (address && typeof address === 'object') send({ type: 'ready', port: address.port })
  })
}

/**
 * Linux may group threads by session, and weigh niceness only within a group; then this session of its own had as much of the
 * processor as the plane. How nice a group is, is said to a file, and not twice within 100 ms on one machine (false).
 */
function sayNiceness(sessionNiceness: number): boolean {
  try {
    writeFileSync('/proc/self/autogroup', String(sessionNiceness))
    return true
  } catch (error) {
    // Without such groups there is no such file, and niceness counts among all.
    return !(error instanceof Error && 'code' in error && error.code === 'EAGAIN')
  }
}

function fail(error: unknown): void {
  send({ type: 'failed', says: error instanceof Error ? error.message : String(error) })
}
