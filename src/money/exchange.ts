// One transaction between a till and the purses: what was spent is written, what is not needed goes back, what is wanted is
// leased if there is room. Purses are locked in the order of their names, so that two tills never wait for each other.

import type { Postgres, Sql } from '../stores/postgres.ts'
import type { Purse } from './purse.ts'

// Beyond what calls want a till takes a share of the rest, so that the next ones need not ask; small enough that what lies in
// idle tills never stands between others and a budget that is not spent.
const spareShare = 8n
const spareCallsMax = 15n

export type Order = { purse: Purse; want: bigint; mayReturn: boolean }

type Snapshot = Order & { settled: bigint; booked: bigint; free: bigint; kept: bigint }
type PurseRow = {
  purse: string
  period: string
  spent: string
  held: string
  /** Null: no budget any more, or no such user. */
  bound: string | null
}
type OwnRow = { purse: string; period: string; settled: string; held: string }

/** Resolves with the month by the database's clock once all of it is committed; the purses then have what they were granted. */
export async function exchange(
  sql: Postgres,
  till: string,
  orders: readonly Order[],
): Promise<string> {
  // Taken at once: calls go on taking and settling while the transaction is under way.
  const snapshots = orders.map(snapshot)
  const { month, grants } = await sql.transaction(async (tx) => {
    const [seen] = await tx.query<{ month: string }>(
      `UPDATE tills SET seen_at = now() WHERE till = $1
       RETURNING to_char(now() AT TIME ZONE 'utc', 'YYYY-MM') AS month`,
      [till],
    )
    if (!seen) throw new Error('This process is not in the books any more.')
    if (snapshots.length === 0) return { month: seen.month, grants: [] }
    await addMissing(tx, till, snapshots)
    return { month: seen.month, grants: await settleAndLease(tx, till, snapshots) }
  })
  // Whoever is not traded with is there no more, and is looked for anew.
  for (const { purse } of snapshots) purse.isStored = false
  for (const { snapshot, toldBefore, granted, roomLeft, bound } of grants) {
    snapshot.purse.written = snapshot.settled
    snapshot.purse.toldBefore = toldBefore
    snapshot.purse.bookedSeen = snapshot.booked
    snapshot.purse.isStored = true
    snapshot.purse.granted({ granted, roomLeft, bound })
  }
  return month
}

function snapshot(order: Order): Snapshot {
  const { purse } = order
  // Given back before it is written: if the write fails the books hold it for this till until the next one tells them better.
  if (order.mayReturn) purse.free = 0n
  const { settled, booked, free, lent } = purse
  return { ...order, settled, booked, free, kept: free + lent }
}

async function addMissing(tx: Sql, till: string, snapshots: readonly Snapshot[]): Promise<void> {
  const fresh = snapshots.filter(({ purse }) => !purse.isStored).sort(byName)
  if (fresh.length === 0) return
  const names = namesOf(fresh)
  await tx.query(
    `INSERT INTO purses (purse, period, workspace) SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[])
     ON CONFLICT DO NOTHING`,
    [...names, fresh.map(({ purse }) => purse.name.workspace)],
  )
  await tx.query(
    `INSERT INTO till_purses (till, purse, period) SELECT $3::uuid, * FROM unnest($1::uuid[], $2::text[])
     ON CONFLICT DO NOTHING`,
    [...names, till],
  )
}

async function settleAndLease(tx: Sql, till: string, snapshots: readonly Snapshot[]) {
  const names = namesOf(snapshots)
  const purses = await tx.query<PurseRow>(
    `SELECT p.purse, p.period, p.spent_nano_usd::text AS spent, p.held_nano_usd::text AS held,
       (CASE WHEN p.period = '' THEN u.credited_nano_usd ELSE k.monthly_budget_nano_usd END)::text AS bound
     FROM purses p LEFT JOIN keys k ON k.id = p.purse LEFT JOIN users u ON u.id = p.purse
     WHERE (p.purse, p.period) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
     ORDER BY p.purse, p.period FOR UPDATE OF p`,
    names,
  )
  const own = await tx.query<OwnRow>(
    `SELECT purse, period, settled_nano_usd::text AS settled, held_nano_usd::text AS held FROM till_purses
     WHERE till = $3 AND (purse, period) IN (SELECT * FROM unnest($1::uuid[], $2::text[])) FOR UPDATE`,
    [...names, till],
  )
  const purseRows = new Map(purses.map((row) => [`${row.purse}/${row.period}`, row]))
  const ownRows = new Map(own.map((row) => [`${row.purse}/${row.period}`, row]))
  const traded = snapshots.flatMap((snapshot) => {
    const key = `${snapshot.purse.name.purse}/${snapshot.purse.name.period}`
    const [purse, mine] = [purseRows.get(key), ownRows.get(key)]
    return purse && mine ? [trade(snapshot, purse, mine)] : []
  })
  await write(tx, till, traded)
  return traded
}

type Traded = {
  snapshot: Snapshot
  toldBefore: bigint
  spent: bigint
  held: bigint
  heldHere: bigint
  granted: bigint
  roomLeft: bigint
  bound: bigint
}

/** By totals: what this till told before is taken out, and what it tells now put in. */
function trade(snapshot: Snapshot, purse: PurseRow, mine: OwnRow): Traded {
  // A purse that the till had let go of begins at nothing; what the till told of it stands.
  const toldBefore = snapshot.purse.toldBefore ?? BigInt(mine.settled)
  const spent = BigInt(purse.spent) + toldBefore + snapshot.settled - BigInt(mine.settled)
  const heldElsewhere = BigInt(purse.held) - BigInt(mine.held)
  const need = max(snapshot.want - snapshot.free, 0n)
  // A budget that was lifted meanwhile bounds nothing.
  const taken = spent + heldElsewhere + snapshot.kept
  const bound = purse.bound === null ? taken + need : BigInt(purse.bound)
  const left = max(bound - taken, 0n)
  const granted = need === 0n ? 0n : grantOf(need, left)
  const heldHere = snapshot.kept + granted
  return {
    snapshot,
    toldBefore,
    spent,
    held: heldElsewhere + heldHere,
    heldHere,
    granted,
    roomLeft: left - granted,
    bound,
  }
}

function grantOf(need: bigint, room: bigint): bigint {
  if (need >= room) return room
  return need + min((room - need) / spareShare, need * spareCallsMax)
}

async function write(tx: Sql, till: string, traded: readonly Traded[]): Promise<void> {
  const names = namesOf(traded.map(({ snapshot }) => snapshot))
  await tx.query(
    `UPDATE purses p SET spent_nano_usd = n.spent, held_nano_usd = n.held
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS n (purse, period, spent, held)
     WHERE p.purse = n.purse AND p.period = n.period`,
    [...names, traded.map(({ spent }) => String(spent)), traded.map(({ held }) => String(held))],
  )
  await tx.query(
    `UPDATE till_purses t SET settled_nano_usd = n.settled, held_nano_usd = n.held
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS n (purse, period, settled, held)
     WHERE t.till = $5 AND t.purse = n.purse AND t.period = n.period`,
    [
      ...names,
      traded.map(({ toldBefore, snapshot }) => String(toldBefore + snapshot.settled)),
      traded.map(({ heldHere }) => String(heldHere)),
      till,
    ],
  )
}

function namesOf(snapshots: readonly Snapshot[]): [string[], string[]] {
  return [
    snapshots.map(({ purse }) => purse.name.purse),
    snapshots.map(({ purse }) => purse.name.period),
  ]
}

function byName(a: Snapshot, b: Snapshot): number {
  const [left, right] = [a, b].map(({ purse: { name } }) => `${name.purse}/${name.period}`)
  return left! < right! ? -1 : 1
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
