// What a video costs: taken when it is asked for, given back when it fails however late, and once whatever is cut off between.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { forgetJobs, openJobs } from '../src/jobs/jobs.ts'
import { addCredit } from '../src/money/credit.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { get, type Json } from './clients.ts'
import { startMoneyOnPostgres } from './money-world.ts'
import { hangBeforeHead, json } from './upstream.ts'

let world: Awaited<ReturnType<typeof startMoneyOnPostgres>>
let sql: Postgres

beforeAll(async () => {
  world = await startMoneyOnPostgres({
    env: { RUNLEDGER_BILLING: 'prepaid' },
    config: {
      // A cent a second.
      models: [{ id: 'clips', pricing: { std_input: 0, std_output: 0, video_second: 0.01 } }],
    },
  })
  sql = world.sql
  const { id } = await world.get('/v1/users/me')
  const credit = { workspace: id, amountNanoUsd: 10_000_000_000n }
  await addCredit(sql, { ...credit, kind: 'test', reference: 'jobs' })
}, 60_000)
afterAll(() => world?.end())

const metrics = async () => (await fetch(`${world.url}/metrics`)).text()
const stateOf = async ({ record }: Started) => (await get(world, `/v1/vaas/${record}`)).status

type Started = Awaited<ReturnType<typeof startVideo>>
let count = 0

const postVideo = (key: string) =>
  fetch(`${world.url}/v1/videos`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'clips', prompt: 'A fox', seconds: '8' }),
  })

async function startVideo(key: string) {
  const id = `video_${++count}`
  const play = (status: string) =>
    world.upstream.play(json({ id, object: 'video', status, seconds: '8' }))
  play('queued')
  const answer = await postVideo(key)
  expect(answer.status).toBe(200)
  const look = () => world.get(`/v1/videos/${id}`, key)
  const { headers } = answer
  const [runId, record] = ['x-batchin-run-id', 'x-vaas-record-id'].map((it) => headers.get(it))
  return { id, play, look, runId: String(runId), record: String(record) }
}

/** Cents: of the key's month, of the workspace's balance, and what the rows of the key say. */
async function books(keyId: string) {
  const key = (await world.get('/v1/keys')).find((row: Json) => row.id === keyId)
  const { credit_balance_cents: balance } = await world.get('/v1/users/me')
  const summary = await world.get(`/v1/usage/summary?key_id=${keyId}`)
  return { spent: key.month_spent_cents, balance, rows: summary.total_cost_cents }
}

test('what failed late is given back, to the budget and to the balance, once however many see it', async () => {
  const key = await world.newKey({ monthly_budget_cents: 10 })
  const before = (await books(key.id)).balance
  const job = await startVideo(key.key)
  expect(await books(key.id)).toEqual({ spent: 8, balance: before - 8, rows: 0 })
  const second = await postVideo(key.key)
  expect([second.status, (await second.json()).error.code]).toEqual([402, 'payment_required'])
  job.play('failed')
  await Promise.all([job.look(), job.look(), job.look()])
  await job.look()
  await expect.poll(() => books(key.id)).toEqual({ spent: 0, balance: before, rows: 0 })
  // All of the budget is there to be used again, a moment after it was refused.
  world.upstream.play(json({ id: `video_${++count}`, object: 'video', status: 'queued' }))
  await expect.poll(async () => (await postVideo(key.key)).status).toBe(200)
})

test('what was made costs what was taken when it was asked for', async () => {
  const key = await world.newKey({ monthly_budget_cents: 10 })
  const before = (await books(key.id)).balance
  const job = await startVideo(key.key)
  job.play('completed')
  await job.look()
  await expect.poll(() => books(key.id)).toEqual({ spent: 8, balance: before - 8, rows: 8 })
})

test('a job of a name that is taken is no job: its call is over with its answer, and costs what it costs', async () => {
  const key = await world.newKey({ monthly_budget_cents: 100 })
  const before = (await books(key.id)).balance
  const job = await startVideo(key.key)
  const again = await postVideo(key.key)
  expect([again.status, again.headers.get('x-vaas-phase')]).toEqual([200, 'final'])
  await expect.poll(() => books(key.id)).toEqual({ spent: 16, balance: before - 16, rows: 8 })
  const seen = await get(world, `/v1/vaas/${again.headers.get('x-vaas-record-id')}/verify`)
  expect(seen.body.valid).toBe(true)
  job.play('completed')
  await job.look()
  await expect.poll(() => books(key.id)).toEqual({ spent: 16, balance: before - 16, rows: 16 })
})

test('a close that was cut off after its record is finished, not made again', async () => {
  const key = await world.newKey({ monthly_budget_cents: 100 })
  const jobs = [await startVideo(key.key), await startVideo(key.key)]
  const [failed, made] = jobs as [Started, Started]
  failed.play('failed')
  await failed.look()
  made.play('completed')
  await made.look()
  const after = { spent: 8, rows: 8 }
  await expect.poll(() => books(key.id)).toMatchObject(after)
  for (const { id } of jobs) await reopen(key.id, id)
  expect(await books(key.id)).toMatchObject({ spent: 16 })
  for (const { play, look, id } of jobs) {
    play(id === made.id ? 'completed' : 'failed')
    await Promise.all([look(), look()])
  }
  await expect.poll(() => books(key.id)).toMatchObject(after)
  for (const { id, runId, record } of jobs) {
    const seen = await fetch(`${world.url}/v1/videos/${id}`, {
      headers: { authorization: `Bearer ${key.key}` },
    })
    const { body } = await get(world, `/v1/vaas/${record}/evidence`)
    expect(seen.headers.get('x-vaas-signature')).toBe(body.signature)
    const spans = await get(world, '/v1/otlp/export?limit=1000')
    expect(JSON.stringify(spans.body).split(`"${runId}"`)).toHaveLength(2)
  }
})

test('a claim that came to nothing is taken up again; another plane waits an hour for the one that made it', async () => {
  const key = await world.newKey({})
  const job = await startVideo(key.key)
  const claim = (plane: string, ago: '1 minute' | '2 hours') =>
    sql.query(
      `UPDATE jobs SET claimed_by = $2::uuid,
         claimed_until = now() - $3::interval WHERE id = $1`,
      [job.id, plane, ago],
    )
  job.play('completed')
  const phase = async () => {
    const seen = await fetch(`${world.url}/v1/videos/${job.id}`, {
      headers: { authorization: `Bearer ${key.key}` },
    })
    return seen.headers.get('x-vaas-phase')
  }
  const other = '00000000-0000-4000-8000-000000000001'
  await claim(other, '1 minute')
  expect(await phase()).toBe('begin')
  await claim(other, '2 hours')
  expect(await phase()).toBe('final')
})

test('a close that hangs for longer than its claim is the only one of its plane', async () => {
  const { id: workspace } = await world.get('/v1/users/me')
  const planeId = '00000000-0000-4000-8000-000000000002'
  const log = () => {}
  const jobs = openJobs({
    ...{ sql, planeId, nowMs: Date.now, log },
    findReceipt: async () => undefined,
  })
  const key = await world.newKey({})
  const { id } = await startVideo(key.key)
  const job = await jobs.find(workspace, id)
  const closed = { ...job!.receipt, phase: 'final' as const }
  let goOn = () => {}
  let first: Promise<unknown> | undefined
  await new Promise<void>((begun) => {
    first = jobs.closeOnce(job!, async () => {
      await new Promise<void>((resolve) => {
        goOn = resolve
        begun()
      })
      return closed
    })
  })
  const age = () =>
    sql.query(`UPDATE jobs SET claimed_until = now() - interval '1 second' WHERE id = $1`, [id])
  await age()
  let others = 0
  const other = async () => {
    others += 1
    return closed
  }
  expect((await jobs.closeOnce(job!, other)).phase).toBe('begin')
  goOn()
  expect([await first, others]).toEqual([closed, 0])
  // One that rejected has written nothing, and the next look is another's turn.
  await age()
  await expect(jobs.closeOnce(job!, () => Promise.reject(new Error('full')))).rejects.toThrow()
  await age()
  expect([await jobs.closeOnce(job!, other), others]).toEqual([closed, 1])
})

test('a job that nobody asks about is looked at until it is over, and gives back what it took when it failed', async () => {
  const key = await world.newKey({ monthly_budget_cents: 10 })
  const before = (await books(key.id)).balance
  const job = await startVideo(key.key)
  const due = () => sql.query('UPDATE jobs SET look_at = now() WHERE id = $1', [job.id])
  const looks = async () => {
    const [row] = await sql.query<{ looks: number; away: number; status: string }>(
      `SELECT looks, extract(epoch FROM look_at - now())::int AS away, job->'receipt'->>'recordStatus' AS status
       FROM jobs WHERE id = $1`,
      [job.id],
    )
    return row
  }
  expect((await looks())?.away).toBeGreaterThan(500)
  await expect.poll(() => stateOf(job), { timeout: 30_000 }).toBe(202)
  await due()
  await expect
    .poll(metrics, { timeout: 30_000 })
    .toContain('jobs_looked_at_total{outcome="open"} 1\n')
  expect(await books(key.id)).toMatchObject({ spent: 8, balance: before - 8 })
  job.play('failed')
  await due()
  await expect
    .poll(() => books(key.id), { timeout: 30_000 })
    .toEqual({ spent: 0, balance: before, rows: 0 })
  const after = await looks()
  expect(after?.looks).toBe(2)
  // The pause doubles.
  expect(after?.away).toBeGreaterThan(1_100)
  expect(after?.status).toBe('upstream_error')
})

test('a job of which nobody has heard is not looked at: its call may have been cut off', async () => {
  const key = await world.newKey({ monthly_budget_cents: 10 })
  const job = await startVideo(key.key)
  job.play('failed')
  // As it is where the plane that has its opening record is away.
  await sql.query(
    `UPDATE jobs SET look_at = now(), job = jsonb_set(job, '{note}', to_jsonb(
       regexp_replace(job->>'note', '"recordId":"[0-9a-f]+"', '"recordId":"${'0'.repeat(31)}1"'))) WHERE id = $1`,
    [job.id],
  )
  const looks = async () => Number(/outcome="open"} (\d+)/.exec(await metrics())?.[1] ?? 0)
  const before = await looks()
  await expect.poll(looks, { timeout: 30_000 }).toBe(before + 1)
  expect(world.upstream.seen.filter(({ path }) => path === `/v1/videos/${job.id}`)).toEqual([])
  expect(await books(key.id)).toMatchObject({ spent: 8 })
})

test('a job whose call was cut off before anybody heard of it is forgotten, and gives back what it took', async () => {
  const key = await world.newKey({ monthly_budget_cents: 10 })
  const before = (await books(key.id)).balance
  const job = await startVideo(key.key)
  const [row] = await sql.query<{ run: string }>(
    `SELECT job->>'runId' AS run FROM jobs WHERE id = $1`,
    [job.id],
  )
  for (let again = 0; again < 2; again++) await forgetJobs(sql, [row?.run ?? ''])
  await expect.poll(() => books(key.id)).toEqual({ spent: 0, balance: before, rows: 0 })
  await expect(job.look()).rejects.toThrow('404')
})

/** As a crash leaves it between the final record and the row that says so. */
async function reopen(keyId: string, id: string): Promise<void> {
  const wasGivenBack = await sql.query(
    `WITH open AS (
       UPDATE jobs SET closed_at = NULL, claimed_until = now() - interval '1 second',
         job = jsonb_set(job, '{receipt,phase}', '"begin"') WHERE id = $1
       RETURNING job->'receipt'->>'recordStatus' AS status
     )
     UPDATE purses SET spent_nano_usd = spent_nano_usd + 80000000
     WHERE (SELECT status FROM open) = 'upstream_error' AND (purse = $2 OR (period = '' AND workspace = (SELECT user_id FROM keys WHERE id = $2)))
     RETURNING purse`,
    [id, keyId],
  )
  expect([0, 2]).toContain(wasGivenBack.length)
}

test('a look at a job whose provider says nothing does not keep the plane from stopping', async () => {
  const job = await startVideo((await world.newKey({})).key)
  const gets = () => world.upstream.seen.filter(({ path }) => path === `/v1/videos/${job.id}`)
  await expect.poll(() => stateOf(job), { timeout: 30_000 }).toBe(202)
  world.upstream.play(hangBeforeHead)
  await sql.query('UPDATE jobs SET look_at = now() WHERE id = $1', [job.id])
  await expect.poll(() => gets().length, { timeout: 30_000 }).toBe(1)
  await world.plane.stop()
  expect(await gets()[0]?.closed).toBe(true)
  expect(world.log.filter((line) => line.includes('nobody asks about'))).toEqual([])
}, 30_000)
