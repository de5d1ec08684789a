// The data directory: closed modes, one process at a time, and nothing of somebody else's touched.

import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { findClosedParent, openDataDir } from '../src/data-dir.ts'

const made: string[] = []

function temp(): string {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-dir-'))
  made.push(dir)
  return dir
}

afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true })
})

const modeOf = (path: string) => statSync(path).mode & 0o777

test('a directory is made with its parents, closed to others, and each folder in it too', async () => {
  const dir = await openDataDir(join(temp(), 'a', 'b'))
  expect(modeOf(dir.path)).toBe(process.getuid?.() === 0 ? 0o711 : 0o700)
  expect(modeOf(dir.sub('spool'))).toBe(0o700)
  await dir.release()
})

test('a directory that was open is closed', async () => {
  const path = temp()
  chmodSync(path, 0o777)
  const dir = await openDataDir(path)
  expect(modeOf(path) & 0o066).toBe(0)
  await dir.release()
})

test('the second opener is refused with a sentence, by any path to it, and may come when the first has left', async () => {
  const path = join(temp(), 'data')
  const first = await openDataDir(path)
  const link = join(temp(), 'link')
  symlinkSync(path, link)
  for (const way of [path, link])
    await expect(openDataDir(way)).rejects.toThrow(
      new RegExp(
        `^Another Runledger \\(process ${process.pid}\\) is using the data directory .*RUNLEDGER_DATA_DIR\\.$`,
      ),
    )
  await first.release()
  await first.release()
  await (await openDataDir(path)).release()
})

test('of twenty that open at once, one does', async () => {
  const path = join(temp(), 'data')
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => openDataDir(path)))
  const opened = all.filter((one) => one.status === 'fulfilled')
  expect(opened).toHaveLength(1)
  for (const one of opened) await one.value.release()
})

test('a lock that a killed process left behind is taken over', async () => {
  const path = join(temp(), 'data')
  await (await openDataDir(path)).release()
  // A socket file nobody listens on: what kill -9 leaves. A plain file is as good to connect to.
  writeFileSync(join(path, 'lock.sock'), '')
  await (await openDataDir(path)).release()
})

test('a path too long for a socket is no hindrance', async () => {
  const path = join(temp(), 'x'.repeat(120))
  const first = await openDataDir(path)
  await expect(openDataDir(path)).rejects.toThrow('Another Runledger')
  await first.release()
})

test('a directory with the files of somebody else is left as it is', async () => {
  const path = temp()
  writeFileSync(join(path, 'thesis.txt'), 'all of it')
  chmodSync(path, 0o755)
  await expect(openDataDir(path)).rejects.toThrow(
    'is not empty and is not a data directory of Runledger',
  )
  expect(modeOf(path)).toBe(0o755)
})

test('a path that cannot be made is named in the sentence', async () => {
  const file = join(temp(), 'file')
  writeFileSync(file, '')
  await expect(openDataDir(join(file, 'data'))).rejects.toThrow(
    `The data directory ${join(file, 'data')} cannot be used`,
  )
})

test('the first parent that a user may not pass is found', () => {
  const top = temp()
  const inner = join(top, 'open', 'closed', 'inner')
  mkdirSync(inner, { recursive: true })
  chmodSync(top, 0o711)
  const stranger = { uid: 54321, gid: 54321 }
  expect(findClosedParent(inner, stranger)).toBe(undefined)
  chmodSync(join(top, 'open', 'closed'), 0o700)
  expect(findClosedParent(inner, stranger)).toBe(join(top, 'open', 'closed'))
  const { uid, gid } = statSync(top)
  expect(findClosedParent(inner, { uid, gid })).toBe(undefined)
})
