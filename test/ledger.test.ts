// The keys behind the records: made once by many, rotated, sealed, read again. On real Postgres where its locks are the law.

import { hkdfSync } from 'node:crypto'
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newId, toPrefixed, toUuid } from '../schemas/ids.ts'
import { toVerdict, verifyEvidence } from '../schemas/verify.ts'
import { openEvidence } from '../src/records/evidence.ts'
import { type Ledger, openLedger } from '../src/records/ledger.ts'
import { loadMasterKey, seal, unseal } from '../src/seal.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { type OwnPostgres, startOwnPostgres } from './own-stores.ts'
import { facts, memorySql, toStored, workspace } from './signed.ts'

const masterKey = Buffer.alloc(32, 1)
const dayMs = 24 * 3600 * 1000

describe('on real Postgres', () => {
  let own: OwnPostgres
  let sql: Postgres

  beforeAll(async () => {
    own = await startOwnPostgres()
    sql = own.sql
    await sql.migrate()
  })
  afterAll(() => own?.end())
  beforeEach(async () => {
    await sql.query('TRUNCATE signing_keys, subject_keys')
    await sql.query(
      `INSERT INTO users (id, email, name) VALUES ($1, 'a@example.com', 'a') ON CONFLICT DO NOTHING`,
      [workspace],
    )
  })

  test('eight processes that start at once end with one root, one record key and one key of each workspace', async () => {
    const ledgers = await Promise.all(
      Array.from({ length: 8 }, () => openLedger({ sql, masterKey })),
    )
    const signers = await Promise.all(ledgers.map((ledger) => ledger.signerOf(workspace)))
    const recordId = newId()
    const disclosures = await Promise.all(
      ledgers.map((ledger) => ledger.disclosureOf(workspace, recordId)),
    )
    expect(new Set(ledgers.map((ledger) => ledger.root)).size).toBe(1)
    expect(new Set(signers.map((signer) => signer.publicKey)).size).toBe(1)
    expect(new Set(disclosures.map((disclosure) => disclosure.input_salt)).size).toBe(1)
    expect((await ledgers[0]!.keys()).map((key) => [key.purpose, key.status])).toEqual(
      expect.arrayContaining([
        ['root', 'active'],
        ['record', 'active'],
      ]),
    )
    expect(await ledgers[0]!.keys()).toHaveLength(2)
  })

  test('a record key is replaced after 90 days by exactly one, however many processes notice, and its records stay valid', async () => {
    const start = Date.now()
    const before = await openLedger({ sql, masterKey, now: () => start })
    const old = await signOne(before, start)
    const later = start + 91 * dayMs
    const after = await Promise.all(
      Array.from({ length: 6 }, () => openLedger({ sql, masterKey, now: () => later })),
    )
    const young = await signOne(after[0]!, later)
    expect(young.final.keyId).not.toBe(old.final.keyId)
    expect(new Set(after.map((ledger) => ledger.current().key_id)).size).toBe(1)
    expect((await after[0]!.keys()).map((key) => key.status).sort()).toEqual([
      'active',
      'active',
      'retired',
    ])
    for (const call of [old, young]) expect(await verdict(after[1]!, call)).toBe('valid')
  })

  test('a call that began under one key and ended under the next shows both, and verifies', async () => {
    const start = Date.now()
    const before = await openLedger({ sql, masterKey, now: () => start })
    const call = facts({
      recordId: newId(start),
      startedAt: new Date(start),
      completedAt: new Date(start + 91 * dayMs),
    })
    const begun = (await before.signerOf(workspace)).begin(call)
    const after = await openLedger({ sql, masterKey, now: () => start + 91 * dayMs })
    const final = (await after.signerOf(workspace)).final(call, begun)
    expect(final.keyId).not.toBe(begun.keyId)
    expect(await verdict(after, { call, begun, final })).toBe('valid')
  })

  test('under another master key it does not open, and says why', async () => {
    await openLedger({ sql, masterKey })
    await expect(openLedger({ sql, masterKey: Buffer.alloc(32, 2) })).rejects.toThrow(
      /another master key/,
    )
  })

  test('a workspace whose key was destroyed can neither sign nor disclose again', async () => {
    await (await openLedger({ sql, masterKey })).signerOf(workspace)
    await sql.query('UPDATE subject_keys SET sealed_key = NULL, shredded_at = now()')
    const ledger = await openLedger({ sql, masterKey })
    await expect(ledger.signerOf(workspace)).rejects.toMatchObject({ code: 'not_found' })
    await expect(ledger.disclosureOf(workspace, newId())).rejects.toMatchObject({
      code: 'not_found',
    })
  })

  test('neither seeds nor salt keys are stored in clear', async () => {
    const ledger = await openLedger({ sql, masterKey })
    await ledger.signerOf(workspace)
    const [row] = await sql.query<{ key_id: string; sealed_seed: Buffer }>(
      `SELECT key_id, sealed_seed FROM signing_keys WHERE purpose = 'record'`,
    )
    const seed = unseal(masterKey, `signing_keys/record/${row!.key_id}`, row!.sealed_seed)
    expect(seed).toHaveLength(32)
    expect(row!.sealed_seed.includes(seed)).toBe(false)
  })
})

test('while Postgres is away, known workspaces go on signing, and unknown ones are told to come back', async () => {
  const sql = memorySql()
  let now = Date.now()
  let isAway = false
  const query: typeof sql.query = (text, params) =>
    isAway ? Promise.reject(new Error('connection refused')) : sql.query(text, params)
  const ledger = await openLedger({ sql: { query }, masterKey, now: () => now })
  const signer = await ledger.signerOf(workspace)
  isAway = true
  now += 3600 * 1000
  expect((await ledger.signerOf(workspace)).keyId).toBe(signer.keyId)
  expect(await ledger.keys()).toHaveLength(2)
  await expect(ledger.signerOf(toUuid(newId()))).rejects.toMatchObject({
    code: 'service_unavailable',
  })
  now += 200 * dayMs
  await expect(ledger.signerOf(workspace)).rejects.toMatchObject({ code: 'service_unavailable' })
})

test('asking for one workspace many times at once reads its key once', async () => {
  const sql = memorySql()
  const ledger = await openLedger({ sql, masterKey })
  const before = sql.asked
  const signers = await Promise.all(Array.from({ length: 50 }, () => ledger.signerOf(workspace)))
  expect(new Set(signers).size).toBe(1)
  expect(sql.asked - before).toBe(3)
})

test('the salts of a disclosure are HKDF-SHA256 of the key of the workspace', async () => {
  const sql = memorySql()
  const ledger = await openLedger({ sql, masterKey })
  const recordId = newId()
  const disclosure = await ledger.disclosureOf(workspace, recordId)
  const key = unseal(masterKey, `subject_keys/${workspace}`, sql.subjects[0]!.sealed_key as Buffer)
  const salt = hkdfSync('sha256', key, toPrefixed('vaas', recordId), 'vaas/v1/salt/output', 32)
  expect(disclosure.output_salt).toBe(Buffer.from(salt).toString('base64url'))
})

test.each([
  ['in I-JSON', { messages: [{ role: 'user', content: 'hi' }] }, 'jcs'],
  ['outside it', { seed: 2 ** 60 }, 'es-json'],
])(
  'an input %s that was committed to before the answer was known gives the record it would have given',
  async (_, input, form) => {
    const ledger = await openLedger({ sql: memorySql(), masterKey })
    const signer = await ledger.signerOf(workspace)
    const call = facts({ input })
    const early = signer.commitInput(call.recordId, input)
    const late = signer.final(call)
    expect(signer.final({ ...call, input: undefined }, early)).toEqual(late)
    expect(late.inputForm ?? 'jcs').toBe(form)
    expect(JSON.parse(Buffer.from(late.canonical).toString()).begin_sha256).toBeNull()
  },
)

test('facts of another workspace are not signed with this one’s salts', async () => {
  const ledger = await openLedger({ sql: memorySql(), masterKey })
  const signer = await ledger.signerOf(workspace)
  expect(() => signer.final(facts({ workspace: toUuid(newId()) }))).toThrow(/another workspace/)
})

test('a sealed secret opens only whole, under its key, in its row', () => {
  const secret = Buffer.from('a secret of 32 bytes, give or take')
  const sealed = seal(masterKey, 'subject_keys/a', secret)
  expect(unseal(masterKey, 'subject_keys/a', sealed)).toEqual(secret)
  expect(seal(masterKey, 'subject_keys/a', secret)).not.toEqual(sealed)
  for (let i = 0; i < sealed.length; i++) {
    const flipped = Buffer.from(sealed)
    flipped[i]! ^= 1
    expect(() => unseal(masterKey, 'subject_keys/a', flipped)).toThrow(
      /subject_keys\/a cannot be unsealed/,
    )
  }
  expect(() => unseal(masterKey, 'subject_keys/b', sealed)).toThrow()
  expect(() => unseal(Buffer.alloc(32), 'subject_keys/a', sealed)).toThrow()
})

describe('the master key', () => {
  let dataDir: string
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'master-'))
    return () => rm(dataDir, { recursive: true })
  })

  test('is read from the setting in either spelling', async () => {
    for (const given of [masterKey.toString('hex'), masterKey.toString('base64url')])
      expect(await loadMasterKey({ given, dataDir })).toEqual(masterKey)
    await expect(stat(join(dataDir, 'master.key'))).rejects.toThrow()
  })

  test('is otherwise made once, private to its owner', async () => {
    const made = await Promise.all(
      Array.from({ length: 5 }, () => loadMasterKey({ given: undefined, dataDir })),
    )
    expect(new Set(made.map((key) => key.toString('hex'))).size).toBe(1)
    expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600)
  })

  test('is refused when others can read it, or when it is not one', async () => {
    await loadMasterKey({ given: undefined, dataDir })
    await chmod(join(dataDir, 'master.key'), 0o644)
    await expect(loadMasterKey({ given: undefined, dataDir })).rejects.toThrow(/chmod 600/)
    await writeFile(join(dataDir, 'master.key'), 'short')
    await chmod(join(dataDir, 'master.key'), 0o600)
    await expect(loadMasterKey({ given: undefined, dataDir })).rejects.toThrow(/32 bytes/)
  })
})

type Call = Awaited<ReturnType<typeof signOne>>

async function signOne(ledger: Ledger, atMs: number) {
  const signer = await ledger.signerOf(workspace)
  const call = facts({
    recordId: newId(atMs),
    startedAt: new Date(atMs),
    completedAt: new Date(atMs + 900),
  })
  const begun = signer.begin(call)
  return { call, begun, final: signer.final(call, begun) }
}

async function verdict(ledger: Ledger, { call, begun, final }: Call) {
  const pack = await openEvidence(ledger).of({
    recordId: call.recordId,
    workspace,
    begin: toStored(begun),
    final: toStored(final),
  })
  return toVerdict(await verifyEvidence(JSON.stringify(pack), { roots: [ledger.root] }))
}
