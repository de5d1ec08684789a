// Root and record keys as rows of Postgres: how one is made, certified, sealed, and shown. Added and retired, never removed.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { toMultikey, toPublicKeyText, toSignatureText } from '../../schemas/encoding.ts'
import type { EvidenceKey, JsonObject, KeyStatus } from '../../schemas/evidence.ts'
import { toJcs } from '../../schemas/jcs.ts'
import type { Sql } from '../accounts/keys.ts'
import { seal, unseal } from '../seal.ts'

const dayMs = 24 * 3600 * 1000
const rootDays = 20 * 365
// A record key signs for 90 days and stays valid for 30 more, in which processes that missed the change still sign with it.
const recordDays = 120
const overlapDays = 30
// Clocks of several processes differ; a key is valid from a little before it was made.
const skewMs = 5 * 60 * 1000

/** A key as it is published. A root has no certificate. */
export type LedgerKey = Omit<EvidenceKey, 'certificate'> & {
  purpose: 'root' | 'record'
  public_key: string
  verify_key_hex: string
  certificate: EvidenceKey['certificate'] | null
}

export type KeyRow = {
  key_id: string
  purpose: 'root' | 'record'
  public_key: Buffer
  sealed_seed: Buffer
  status: KeyStatus
  certificate: { canonical: string; signature: string; root: string } | null
  not_before: Date
  not_after: Date
}

export const keyColumns =
  'key_id, purpose, public_key, sealed_seed, status, certificate, not_before, not_after'
const insertInto =
  'INTO signing_keys (key_id, purpose, public_key, sealed_seed, status, certificate, not_before, not_after)'

const insertSql = `INSERT ${insertInto} VALUES ($1, $2, $3, $4, 'active', $5, $6, $7) ON CONFLICT DO NOTHING`

// One statement, so that there is never a moment without an active key, and of several rotators only one finds it active.
const rotateSql = `WITH retired AS (
    UPDATE signing_keys SET status = 'retired' WHERE key_id = $8 AND status = 'active' RETURNING key_id
  )
  INSERT ${insertInto}
  SELECT $1, $2, $3::bytea, $4::bytea, 'active', $5::jsonb, $6::timestamptz, $7::timestamptz FROM retired`

/** The active key of a purpose; made when there is none. Of several makers at once the first wins, the rest read his. */
export async function ensureActive(of: KeyMaker): Promise<KeyRow> {
  const found = await findActive(of.sql, of.purpose)
  if (found) return found
  await of.sql.query(insertSql, toParams(makeKey(of)))
  const stored = await findActive(of.sql, of.purpose)
  if (!stored) throw new Error(`No active ${of.purpose} key was found right after making one.`)
  return stored
}

/** The active record key, replaced when its time to sign is over. */
export async function ensureFresh(of: KeyMaker): Promise<KeyRow> {
  const active = await ensureActive(of)
  if (active.not_after.getTime() - of.now >= overlapDays * dayMs) return active
  await of.sql.query(rotateSql, [...toParams(makeKey(of)), active.key_id])
  return ensureActive(of)
}

/** The private half, unsealed. Throws when the master key is another one than it was sealed with. */
export function unsealKey(masterKey: Uint8Array, row: KeyRow): KeyObject {
  return toPrivateKey(unseal(masterKey, rowName(row), row.sealed_seed), row.public_key)
}

async function findActive(sql: Sql, purpose: KeyRow['purpose']): Promise<KeyRow | undefined> {
  const found = await sql.query<KeyRow>(
    `SELECT ${keyColumns} FROM signing_keys WHERE purpose = $1 AND status = 'active'`,
    [purpose],
  )
  return found[0]
}

export type Root = { multikey: string; privateKey: KeyObject }

export type KeyMaker = {
  sql: Sql
  masterKey: Uint8Array
  now: number
  purpose: KeyRow['purpose']
  /** Who certifies it; a root certifies nobody's root. */
  root: Root | undefined
}

function makeKey(of: KeyMaker): KeyRow {
  const seed = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const publicKey = Buffer.from(seed.x ?? '', 'base64url')
  const row: KeyRow = {
    key_id: toKeyIdSync(publicKey),
    purpose: of.purpose,
    public_key: publicKey,
    sealed_seed: Buffer.alloc(0),
    status: 'active',
    certificate: null,
    not_before: new Date(of.now - skewMs),
    not_after: new Date(of.now + (of.root ? recordDays : rootDays) * dayMs),
  }
  row.sealed_seed = seal(of.masterKey, rowName(row), Buffer.from(seed.d ?? '', 'base64url'))
  if (of.root) row.certificate = certify(row, of.root)
  return row
}

/** The certificate of a record key. Checked after signing: a wrong bit here would be found by strangers, months later. */
export function certify(
  key: Pick<KeyRow, 'key_id' | 'public_key' | 'not_before' | 'not_after'>,
  root: Root,
): NonNullable<KeyRow['certificate']> {
  const canonical = toJcs({
    type: 'vaas.key/v1',
    key_id: key.key_id,
    public_key: toMultikey(key.public_key),
    purposes: ['record'],
    not_before: key.not_before.toISOString(),
    not_after: key.not_after.toISOString(),
  })
  const signature = sign(null, Buffer.from(canonical), root.privateKey)
  if (!verify(null, Buffer.from(canonical), createPublicKey(root.privateKey), signature))
    throw new Error('A certificate did not verify right after it was signed.')
  return { canonical, signature: toSignatureText(signature), root: root.multikey }
}

/** The JWK thumbprint of schemas/verify-key.ts, by node:crypto. */
export function toKeyIdSync(publicKey: Uint8Array): string {
  const x = Buffer.from(publicKey).toString('base64url')
  return hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`, 'buffer').toString('base64url')
}

export function toPrivateKey(seed: Uint8Array, publicKey: Uint8Array): KeyObject {
  const d = Buffer.from(seed).toString('base64url')
  const x = Buffer.from(publicKey).toString('base64url')
  return createPrivateKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', d, x } })
}

function rowName(row: Pick<KeyRow, 'purpose' | 'key_id'>): string {
  return `signing_keys/${row.purpose}/${row.key_id}`
}

function toParams(row: KeyRow): unknown[] {
  const certificate = row.certificate && JSON.stringify(row.certificate)
  return [
    row.key_id,
    row.purpose,
    row.public_key,
    row.sealed_seed,
    certificate,
    row.not_before,
    row.not_after,
  ]
}

export function toLedgerKey(row: KeyRow): LedgerKey {
  return {
    key_id: row.key_id,
    purpose: row.purpose,
    status: row.status,
    public_key: toPublicKeyText(row.public_key),
    publicKeyMultibase: toMultikey(row.public_key),
    verify_key_hex: row.public_key.toString('hex'),
    not_before: row.not_before.toISOString(),
    not_after: row.not_after.toISOString(),
    certificate: row.certificate && {
      payload: JSON.parse(row.certificate.canonical) as JsonObject, // our own canonical text
      signature: row.certificate.signature,
      root: row.certificate.root,
    },
  }
}
