// The embedded engines as processes: they come back when killed, keep their address, and never outlive their parent.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import type { Engine } from '../src/engines/engine.ts'
import { findDatabaseUser } from '../src/engines/os-user.ts'
import { startPostgres } from '../src/engines/postgres.ts'
import { linkLibraries } from '../src/engines/postgres-files.ts'
import { endRecorded, recordProcess, startOf } from '../src/engines/process-record.ts'
import { packageRoot } from '../src/root.ts'
import { connectClickhouse } from '../src/stores/clickhouse.ts'
import { connectPostgres } from '../src/stores/postgres.ts'
import { buildChild, buildEntry } from './build-child.ts'

let parentProgram: string

beforeAll(async () => {
  await buildChild()
  parentProgram = await buildEntry(join(packageRoot(), 'test', 'engine-parent.ts'))
})

const made: string[] = []
const parents: ChildProcess[] = []
afterAll(() => {
  for (const parent of parents) parent.kill('SIGKILL')
  for (const dir of made) rmSync(dir, { recursive: true, force: true })
})

function temp(): string {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-engines-'))
  chmodSync(dir, 0o711)
  made.push(dir)
  return dir
}

function reached(engine: Engine, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    const end = engine.onState((state) => {
      if (state !== wanted) return
      end()
      resolve()
    })
  })
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setImmediate(resolve))
}

const childPid = (dir: string) =>
  JSON.parse(readFileSync(join(dir, 'child.pid'), 'utf8')).pid as number
const postmasterPid = (dir: string) =>
  Number.parseInt(readFileSync(join(dir, 'data', 'postmaster.pid'), 'utf8'), 10)
const lives = (pid: number) => startOf(pid) !== ''

type Parent = {
  process: ChildProcess
  said: AsyncIterator<string>
  url: string
  config: { host: string }
  pids: number[]
}

async function startParent(dir: string): Promise<Parent> {
  const parent = spawn(process.execPath, [parentProgram, dir], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  parents.push(parent)
  let complaint = ''
  parent.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const said = createInterface({ input: parent.stdout! })[Symbol.asyncIterator]()
  const first = await said.next()
  if (first.done) throw new Error(complaint)
  const pids = [childPid(join(dir, 'clickhouse')), postmasterPid(join(dir, 'postgres'))]
  return { process: parent, said, pids, ...JSON.parse(first.value) }
}

describe('ClickHouse in a child', () => {
  test('killed in the middle of a query it comes back at the same address with what was stored', async () => {
    const dir = temp()
    const log: string[] = []
    const engine = await startClickhouse({ dir, log: (line) => log.push(line) })
    const client = connectClickhouse(engine.url)
    await client.command('CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a')
    await client.command('INSERT INTO t SELECT number FROM numbers(1000)')
    const slow = client.query({
      sql: 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))',
    })
    const outcome = slow.catch((error) => error)
    const before = childPid(dir)
    const back = reached(engine, 'ready')
    const gone = reached(engine, 'restarting')
    process.kill(before, 'SIGKILL')
    await gone
    expect(engine.state()).toBe('restarting')
    expect(await outcome).toMatchObject({
      name: 'ClickhouseError',
      code: undefined,
      transient: true,
    })
    await back
    expect(childPid(dir)).not.toBe(before)
    expect(await client.query({ sql: 'SELECT count() AS n FROM t' })).toEqual([{ n: '1000' }])
    expect(log.join('\n')).toContain('ClickHouse (chDB) ended (SIGKILL)')
    await client.close()
    await engine.stop()
    expect(engine.state()).toBe('stopped')
    expect(lives(childPid(dir))).toBe(false)
  })

  test('leaves the processor to its parent, and as a session while inserts take much of the time', async () => {
    const dir = temp()
    const engine = await startClickhouse({ dir, log: () => {} })
    const pid = childPid(dir)
    expect(getPriority(pid)).toBe(5)
    const group = () => {
      const path = `/proc/${pid}/autogroup`
      return existsSync(path) ? readFileSync(path, 'utf8') : ''
    }
    // Empty where sessions are not grouped. Another machine's engines may have just said theirs: then this one waits its turn.
    const isNice = (niceness: number) => group() === '' || group().endsWith(` nice ${niceness}\n`)
    await until(() => isNice(0))
    const client = connectClickhouse(engine.url)
    await client.command('CREATE TABLE slow (n UInt8) ENGINE = Memory')
    const { origin, username, password } = new URL(engine.url)
    const sender = request(`${origin}/?query=INSERT%20INTO%20slow%20FORMAT%20RowBinary`, {
      method: 'POST',
      auth: `${username}:${password}`,
    })
    const answered = once(sender, 'response')
    sender.write(Buffer.of(1))
    await until(() => isNice(10))
    sender.end()
    const [answer] = await answered
    answer.resume()
    expect(answer.statusCode).toBe(200)
    await until(() => isNice(0))
    await client.close()
    await engine.stop()
  })

  test('stops while a query runs', async () => {
    const dir = temp()
    const engine = await startClickhouse({ dir, log: () => {} })
    const client = connectClickhouse(engine.url)
    const slow = client
      .query({
        sql: 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))',
        // The other lane refuses so many rows before it begins.
        lane: 'heavy',
      })
      .catch((error) => error)
    await until(async () => {
      const sql = `SELECT count() AS n FROM system.processes WHERE query LIKE '%sipHash%' AND query NOT LIKE '%system.pro%'`
      return (await client.query<{ n: string }>({ sql }))[0]?.n === '1'
    })
    await engine.stop()
    expect(await slow).toBeInstanceOf(Error)
    await client.close()
  })

  test('data that cannot be opened is a sentence, and nothing keeps running', async () => {
    const dir = temp()
    writeFileSync(join(dir, 'data'), 'not a directory')
    await expect(startClickhouse({ dir, log: () => {} })).rejects.toThrow(`could not open ${dir}`)
    expect(lives(childPid(dir))).toBe(false)
  })
})

describe('Postgres', () => {
  test('killed, it comes back at the same socket with what was committed', async () => {
    const dir = join(temp(), 'postgres')
    const engine = await startPostgres({ dir, log: () => {} })
    const sql = connectPostgres(engine.config)
    await sql.query('CREATE TABLE t (a int)')
    await sql.query('INSERT INTO t SELECT * FROM generate_series(1, 1000)')
    const back = reached(engine, 'ready')
    process.kill(postmasterPid(dir), 'SIGKILL')
    await back
    expect(await sql.query('SELECT count(*) AS n FROM t')).toEqual([{ n: 1000 }])
    await sql.close()
    await engine.stop()
    expect(existsSync(join(dir, 'data', 'postmaster.pid'))).toBe(false)
  })

  test('its socket is open to its owner alone, and it listens on no port', async () => {
    const dir = join(temp(), 'postgres')
    const engine = await startPostgres({ dir, log: () => {} })
    expect(statSync(engine.config.host).mode & 0o077).toBe(0)
    const sql = connectPostgres(engine.config)
    expect(await sql.query('SHOW listen_addresses')).toEqual([{ listen_addresses: '' }])
    expect(await sql.query('SHOW fsync')).toEqual([{ fsync: 'on' }])
    expect(await sql.query('SHOW server_encoding')).toEqual([{ server_encoding: 'UTF8' }])
    await sql.close()
    await engine.stop()
  })

  test('a directory deeper than a socket path may be is no hindrance', async () => {
    const dir = join(temp(), 'd'.repeat(100))
    const engine = await startPostgres({ dir, log: () => {} })
    expect(engine.config.host.length).toBeLessThan(100)
    const sql = connectPostgres(engine.config)
    expect(await sql.ping()).toBe(true)
    await sql.close()
    await engine.stop()
    expect(existsSync(engine.config.host)).toBe(false)
  })

  test('the library links that an install script would have made are made once, and kept', () => {
    const root = temp()
    mkdirSync(join(root, 'native', 'lib'), { recursive: true })
    const links = ['libpq.so', 'libpq.so.5'].map((name) => ({
      source: 'native/lib/libpq.so.5.18',
      target: `native/lib/${name}`,
    }))
    writeFileSync(join(root, 'native', 'pg-symlinks.json'), JSON.stringify(links))
    writeFileSync(join(root, 'native', 'lib', 'libpq.so.5.18'), 'library')
    symlinkSync('libpq.so.5.18', join(root, 'native', 'lib', 'libpq.so'))
    for (let again = 0; again < 2; again++) linkLibraries(root)
    for (const { target } of links) expect(readFileSync(join(root, target), 'utf8')).toBe('library')
  })

  test.runIf(process.getuid?.() === 0)(
    'as root it runs as another user, and stays with the one it began with',
    () => {
      const dir = temp()
      expect(findDatabaseUser(dir)?.uid).toBeGreaterThan(0)
      chownSync(dir, 65534, 65534)
      expect(findDatabaseUser(dir)?.uid).toBe(65534)
    },
  )

  test('an initdb that was cut short is done again', async () => {
    const dir = join(temp(), 'postgres')
    const first = await startPostgres({ dir, log: () => {} })
    await first.stop()
    rmSync(join(dir, 'data'), { recursive: true })
    mkdirSync(join(dir, 'data.new'))
    writeFileSync(join(dir, 'data.new', 'PG_VERSION'), '18\n')
    const again = await startPostgres({ dir, log: () => {} })
    await again.stop()
  })
})

describe('the parent', () => {
  test('killed with -9, takes both engines with it, and the next start opens the same data', async () => {
    const dir = join(temp(), 'data')
    const first = await startParent(dir)
    const client = connectClickhouse(first.url)
    const outcome = client
      .query({
        sql: 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))',
      })
      .catch((error) => error)
    await client.command('CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a')
    const since = performance.now()
    first.process.kill('SIGKILL')
    await until(() => !first.pids.some(lives))
    expect(performance.now() - since).toBeLessThan(5000)
    expect(await outcome).toBeInstanceOf(Error)
    await client.close()

    const second = await startParent(dir)
    const again = connectClickhouse(second.url)
    expect(await again.query({ sql: 'SELECT count() AS n FROM t' })).toEqual([{ n: '0' }])
    await again.close()
    second.process.kill('SIGINT')
    expect((await second.said.next()).value).toBe('{"stopped":1}')
  })

  test('a start ends engines that were left behind before it opens their data', async () => {
    const dir = join(temp(), 'data')
    const first = await startParent(dir)
    // Stopped processes cannot see that their parent is gone: orphans, as a watcher that was killed too would leave them.
    for (const pid of first.pids) process.kill(pid, 'SIGSTOP')
    first.process.kill('SIGKILL')
    await new Promise((resolve) => first.process.once('exit', resolve))
    expect(first.pids.map(lives)).toEqual([true, true])
    const second = await startParent(dir)
    expect(first.pids.map(lives)).toEqual([false, false])
    second.process.kill('SIGINT')
    expect((await second.said.next()).value).toBe('{"stopped":1}')
  }, 40_000)

  test('a start waits for the processes of a server that was killed, and ends one that stays', async () => {
    const dir = join(temp(), 'data')
    const first = await startParent(dir)
    const postmaster = postmasterPid(join(dir, 'postgres'))
    // One of its own processes, stopped: it cannot leave with its server, and holds the shared memory.
    const [child] = childrenOf(postmaster)
    process.kill(child!, 'SIGSTOP')
    process.kill(postmaster, 'SIGKILL')
    first.process.kill('SIGKILL')
    await new Promise((resolve) => first.process.once('exit', resolve))
    const second = await startParent(dir)
    expect(lives(child!)).toBe(false)
    second.process.kill('SIGINT')
    expect((await second.said.next()).value).toBe('{"stopped":1}')
  }, 40_000)

  test('a signal to its whole group leaves the engines to it: it still asks them, then stops them', async () => {
    const dir = join(temp(), 'data')
    const parent = await startParent(dir)
    process.kill(-parent.process.pid!, 'SIGTERM')
    process.kill(-parent.process.pid!, 'SIGINT')
    expect((await parent.said.next()).value).toBe('{"stopped":1}')
    await until(() => !parent.pids.some(lives))
  })

  test('a second one on the same directory refuses and disturbs nothing', async () => {
    const dir = join(temp(), 'data')
    const first = await startParent(dir)
    await expect(startParent(dir)).rejects.toThrow('Another Runledger')
    expect(first.pids.map(lives)).toEqual([true, true])
    first.process.kill('SIGINT')
    await first.said.next()
  })
})

test('a number that now belongs to another process is never ended', async () => {
  const file = join(temp(), 'pid')
  const other = spawn('sleep', ['60'])
  recordProcess(file, other.pid!)
  const record = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, JSON.stringify({ ...record, started: `${record.started}0` }))
  expect(await endRecorded(file, ['SIGKILL'])).toBe(false)
  expect(lives(other.pid!)).toBe(true)
  recordProcess(file, other.pid!)
  expect(await endRecorded(file, ['SIGKILL'])).toBe(true)
  expect(lives(other.pid!)).toBe(false)
})

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}
