import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { test } from 'vitest'
import { startPostgres } from '../src/engines/postgres.ts'

test('x', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'rl-'))
  chmodSync(dir, 0o711)
  let t = performance.now()
  let e = await startPostgres({ dir: join(dir, 'postgres'), log: console.log })
  console.log('first', performance.now() - t)
  const p = new pg.Pool({ ...e.config })
  console.log((await p.query('select version(), current_user')).rows)
  await p.end()
  t = performance.now()
  await e.stop()
  console.log('stop', performance.now() - t, e.state())
  t = performance.now()
  e = await startPostgres({ dir: join(dir, 'postgres'), log: console.log })
  console.log('second', performance.now() - t)
  await e.stop()
})
