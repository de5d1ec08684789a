// API keys and console sessions. Only digests are stored; a key is shown once, when it is made.

import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Caller, defaultScopes, type Scope, scopes } from '../schemas/caller.ts'
import { newId, toUlid, toUuid } from '../schemas/ids.ts'

// A revoked key is refused within this time on every process; a shorter one costs a lookup per key and second.
const rememberedMs = 5_000
const rememberedMax = 10_000
const tokenLengthMax = 512
const sessionDays = 7
const prefix = 'batchin_api_'

/** The one thing this file needs of Postgres. */
export type Sql = {
  query<T>(text: string, params?: readonly unknown[]): Promise<T[]>
}

export type Keys = {
  /** The caller behind a bearer token; undefined when there is none. Rejects only when the key store is down. */
  find(token: string): Promise<Caller | undefined>
  /** The caller behind a session cookie. */
  findSession(cookie: string): Promise<Caller | undefined>
  /** A session standing for the key: the cookie's value and its last moment. Undefined when the token is no key. */
  openSession(
    token: string,
  ): Promise<{ cookie: string; expiresAt: Date; caller: Caller } | undefined>
  closeSession(cookie: string): Promise<void>
}

type KeyRow = { id: string; user_id: string; digest: Buffer; scopes: Scope[] }

/**
 * Makes sure that a first user and a first key exist. Returns the key in clear when one was made here, to be printed once.
 * `mayMake: false` refuses instead, for an address that strangers can reach.
 */
export async function ensureFirstKey(
  sql: Sql,
  given: string | undefined,
  mayMake: boolean,
): Promise<string | undefined> {
  const owner = await ensureOwner(sql)
  if (given !== undefined) {
    await insertKey(sql, {
      owner,
      token: given,
      name: 'bootstrap',
      keyScopes: scopes,
    })
    return undefined
  }
  const existing = await sql.query<{ id: string }>('SELECT id FROM keys WHERE is_active LIMIT 1')
  if (existing.length > 0) return undefined
  if (!mayMake) {
    throw new Error(
      'No API key exists yet and HOST is not a loopback address. Start once on 127.0.0.1, or set RUNLEDGER_BOOTSTRAP_KEY.',
    )
  }
  const token = newToken()
  await insertKey(sql, { owner, token, name: 'first key', keyScopes: scopes })
  return token
}

/** `batchin_api_<id>_<secret><checksum>`: 26 digits, 256 bits in base64url, and a CRC-32 that tells a typo without a lookup. */
export function newToken(): string {
  const body = `${prefix}${toUlid(newId())}_${randomBytes(32).toString('hex')}`
  return body + checksumOf(body)
}

export function openKeys(sql: Sql, nowMs: () => number): Keys {
  const remembered = new Map<string, { caller: Caller | undefined; untilMs: number }>()

  async function remember(kind: string, token: string, load: () => Promise<Caller | undefined>) {
    if (token.length > tokenLengthMax) return undefined
    const name = nameOf(kind, token)
    const held = remembered.get(name)
    if (held && held.untilMs > nowMs()) return held.caller
    const caller = await load()
    if (remembered.size >= rememberedMax) remembered.clear()
    remembered.set(name, { caller, untilMs: nowMs() + rememberedMs })
    return caller
  }

  const find = (token: string) =>
    remember('k', token, async () => (isKnownTypo(token) ? undefined : loadKey(sql, token)))

  return {
    find,
    findSession: (cookie) => remember('s', cookie, () => loadSession(sql, cookie)),
    async openSession(token) {
      const caller = await find(token)
      if (!caller) return undefined
      const cookie = randomBytes(32).toString('base64url')
      const expiresAt = new Date(nowMs() + sessionDays * 86_400_000)
      await sql.query('INSERT INTO sessions (digest, key_id, expires_at) VALUES ($1, $2, $3)', [
        digestOf(cookie),
        caller.keyId,
        expiresAt,
      ])
      return { cookie, expiresAt, caller: { ...caller, by: 'session' } }
    },
    async closeSession(cookie) {
      await sql.query('DELETE FROM sessions WHERE digest = $1 OR expires_at < now()', [
        digestOf(cookie),
      ])
      remembered.delete(nameOf('s', cookie))
    },
  }
}

async function ensureOwner(sql: Sql): Promise<string> {
  const email = 'owner@localhost'
  await sql.query(
    'INSERT INTO users (id, email, name) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING',
    [toUuid(newId()), email, 'Owner'],
  )
  const [row] = await sql.query<{ id: string }>('SELECT id FROM users WHERE email = $1', [email])
  if (!row) throw new Error('The first user could not be made.')
  return row.id
}

async function insertKey(
  sql: Sql,
  key: {
    owner: string
    token: string
    name: string
    keyScopes: readonly Scope[]
  },
): Promise<void> {
  await sql.query(
    `INSERT INTO keys (id, user_id, digest, name, scopes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (digest) DO NOTHING`,
    [toUuid(newId()), key.owner, digestOf(key.token), key.name, key.keyScopes],
  )
}

async function loadKey(sql: Sql, token: string): Promise<Caller | undefined> {
  const digest = digestOf(token)
  const [row] = await sql.query<KeyRow>(
    'SELECT id, user_id, digest, scopes FROM keys WHERE digest = $1 AND is_active',
    [digest],
  )
  if (!row || !timingSafeEqual(row.digest, digest)) return undefined
  return {
    workspace: row.user_id,
    keyId: row.id,
    scopes: row.scopes ?? defaultScopes,
    by: 'key',
  }
}

async function loadSession(sql: Sql, cookie: string): Promise<Caller | undefined> {
  const [row] = await sql.query<KeyRow>(
    `SELECT k.id, k.user_id, k.digest, k.scopes FROM sessions s JOIN keys k ON k.id = s.key_id
     WHERE s.digest = $1 AND s.expires_at > now() AND k.is_active`,
    [digestOf(cookie)],
  )
  if (!row) return undefined
  return {
    workspace: row.user_id,
    keyId: row.id,
    scopes: row.scopes,
    by: 'session',
  }
}

/** Tokens of our own form whose checksum is wrong need no lookup. A bootstrap key has its own form and always gets one. */
function isKnownTypo(token: string): boolean {
  if (!token.startsWith(prefix)) return true
  const match = /^batchin_api_[0-9A-Z]{26}_[0-9a-f]{64}([0-9a-f]{8})$/.exec(token)
  return match !== null && checksumOf(token.slice(0, -8)) !== match[1]
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}

function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

// What is remembered is found by its digest: no key or cookie lies about in memory, and no comparison tells of one.
function nameOf(kind: string, token: string): string {
  return kind + hash('sha256', token, 'binary')
}
