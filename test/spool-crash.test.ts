// kill -9 at any moment: what the process said it had accepted is in ClickHouse once, after the next one has drained.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSpool } from '../collectors/spool/spool.ts'
import type { TableName } from '../schemas/tables.ts'
import { CountedCounters, MemoryClickHouse } from './spool-rows.ts'
import { randomOf } from './spool-world.ts'

const rounds = 12
let dir = ''

beforeAll(async () => {
  dir = await mkdtemp(`${tmpdir()}/spool-crash-`)
  await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      ssr: fileURLToPath(new URL('./spool-writer.ts', import.meta.url)),
      outDir: `${dir}/writer`,
      target: 'node20',
      rollupOptions: { output: { entryFileNames: 'writer.mjs' } },
    },
  })
})

afterAll(() => rm(dir, { recursive: true, force: true }))

test('every row acknowledged before a kill -9 is stored exactly once after the next start', async () => {
  const random = randomOf(4242)
  const house = new MemoryClickHouse()
  // Some answers are lost after the rows went in, as a reset connection loses them.
  house.after = () => (random() < 0.2 ? new Error('lost') : undefined)
  const server = await serve(house)
  const port = (server.address() as AddressInfo).port // it listens on TCP
  const acknowledged: string[] = []
  for (let round = 0; round < rounds; round++)
    acknowledged.push(...(await writeUntilKilled(port, round, 1 + Math.floor(random() * 600))))
  server.closeAllConnections()
  server.close()
  house.after = () => undefined
  const spool = await openSpool({
    dir: `${dir}/spool`,
    nowMs: Date.now,
    counters: new CountedCounters(),
    log: () => {},
    limits: { freeBytesMin: 0, freeShareMin: 0 },
  })
  spool.drainTo(house.insert)
  expect(await spool.flush(30_000)).toBe(true)
  expect(spool.state()).toMatchObject({ status: 'ready', undrainedChunks: 0 })
  await spool.close()
  expect(acknowledged.length).toBeGreaterThan(rounds)
  for (const table of ['spans', 'payloads'] as const) {
    const names = house.names(table)
    const stored = new Set(names)
    expect(names.length).toBe(stored.size)
    expect(acknowledged.filter((name) => !stored.has(name))).toEqual([])
  }
})

test('files are for their owner only', async () => {
  const spool = `${dir}/spool`
  expect((await stat(spool)).mode & 0o777).toBe(0o700)
  for (const name of await readdir(spool, { recursive: true })) {
    const found = await stat(`${spool}/${name}`)
    expect(found.mode & 0o777, name).toBe(found.isDirectory() ? 0o700 : 0o600)
  }
})

/** One process writing until it has acknowledged this many rows; what it said until it died. */
async function writeUntilKilled(port: number, round: number, rows: number): Promise<string[]> {
  const args = [`${dir}/writer/writer.mjs`, `${dir}/spool`, String(port), String(round)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line)
    if (said.length === rows) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return said
}

async function serve(house: MemoryClickHouse): Promise<Server> {
  const server = createServer(async (request, response) => {
    try {
      const pieces: Buffer[] = []
      for await (const piece of request) pieces.push(piece)
      const { table, token, rows } = request.headers
      const opts = {
        token: String(token),
        rows: Number(rows),
        signal: new AbortController().signal,
      }
      await house.insert(String(table) as TableName, [Buffer.concat(pieces)], opts) // our own child sends it
      response.end()
    } catch {
      response.destroy()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}
