// The signing keys in this process: opened once, read again now and then, so that a key another process made is used here too.

import type { KeyObject } from 'node:crypto'
import { toMultikey, toPublicKeyText } from '../../schemas/encoding.ts'
import type { Sql } from '../accounts/keys.ts'
import type { SigningKey } from './signer.ts'
import {
  ensureActive,
  ensureFresh,
  type KeyRow,
  keyColumns,
  type LedgerKey,
  type Root,
  toLedgerKey,
  unsealKey,
} from './signing-keys.ts'

// A key rotated elsewhere stays valid for weeks, so there is no hurry; asking is one small query.
const reloadEveryMs = 10 * 60 * 1000
// The list of keys is public: strangers may not make us ask Postgres more often than this.
const listEveryMs = 5_000

type Deps = { sql: Sql; masterKey: Uint8Array; now: () => number }

export class KeyRing {
  readonly root: string
  readonly #deps: Deps
  readonly #root: Root
  readonly #rows = new Map<string, KeyRow>()
  readonly #privateKeys = new Map<string, KeyObject>()
  #active: KeyRow
  #signing: SigningKey
  #reloadedAt = 0
  #reloading: Promise<void> | undefined

  /** Makes root and record key when there are none. Rejects when the stored ones cannot be unsealed. */
  static async open(deps: Deps): Promise<KeyRing> {
    const row = await ensureActive({ ...deps, now: deps.now(), purpose: 'root', root: undefined })
    const root = {
      multikey: toMultikey(row.public_key),
      privateKey: unsealKey(deps.masterKey, row),
    }
    const active = await ensureFresh({ ...deps, now: deps.now(), purpose: 'record', root })
    const ring = new KeyRing(deps, root, active)
    await ring.#reload()
    return ring
  }

  private constructor(deps: Deps, root: Root, active: KeyRow) {
    this.#deps = deps
    this.#root = root
    this.root = root.multikey
    this.#active = active
    this.#signing = this.#toSigningKey(active)
  }

  current(): LedgerKey {
    return toLedgerKey(this.#active)
  }

  /** What to sign with now, when nothing has to be looked up for that. */
  ready(): SigningKey | undefined {
    const isValid = this.#active.not_after.getTime() > this.#deps.now()
    return isValid && !this.#isOlderThan(reloadEveryMs) ? this.#signing : undefined
  }

  /** What to sign with now. Looks for a newer key in the background when the last look is long ago. */
  async signingKey(): Promise<SigningKey> {
    if (this.#active.not_after.getTime() <= this.#deps.now()) await this.#reload()
    // While Postgres is away the key in hand goes on signing for as long as it is valid.
    else if (this.#isOlderThan(reloadEveryMs)) void this.#tryReload()
    return this.#signing
  }

  /** Every key, the newest first; from memory while Postgres is away. */
  async list(): Promise<LedgerKey[]> {
    if (this.#isOlderThan(listEveryMs)) await this.#tryReload()
    const rows = [...this.#rows.values()]
    rows.sort((a, b) => b.not_before.getTime() - a.not_before.getTime())
    return rows.map(toLedgerKey)
  }

  async find(keyId: string): Promise<LedgerKey | undefined> {
    const row = await this.#findRow(keyId)
    return row && toLedgerKey(row)
  }

  async findPrivateKey(keyId: string): Promise<KeyObject | undefined> {
    const row = await this.#findRow(keyId)
    return row && this.#openPrivateKey(row)
  }

  // An id we do not know is a key that another process has just made, or none of ours.
  async #findRow(keyId: string): Promise<KeyRow | undefined> {
    if (!this.#rows.has(keyId)) await this.#reload()
    return this.#rows.get(keyId)
  }

  async #reload(): Promise<void> {
    const { sql, masterKey, now } = this.#deps
    this.#active = await ensureFresh({
      sql,
      masterKey,
      now: now(),
      purpose: 'record',
      root: this.#root,
    })
    if (this.#active.key_id !== this.#signing.keyId)
      this.#signing = this.#toSigningKey(this.#active)
    const rows = await sql.query<KeyRow>(`SELECT ${keyColumns} FROM signing_keys`)
    for (const row of rows) this.#rows.set(row.key_id, row)
    this.#reloadedAt = now()
  }

  #tryReload(): Promise<void> {
    this.#reloading ??= this.#reload()
      .catch(() => {
        this.#reloadedAt = this.#deps.now() // what we hold is right, if not newest; ask again later
      })
      .finally(() => {
        this.#reloading = undefined
      })
    return this.#reloading
  }

  #isOlderThan(ms: number): boolean {
    return this.#deps.now() - this.#reloadedAt > ms
  }

  #toSigningKey(row: KeyRow): SigningKey {
    return {
      keyId: row.key_id,
      publicKeyText: toPublicKeyText(row.public_key),
      privateKey: this.#openPrivateKey(row),
    }
  }

  #openPrivateKey(row: KeyRow): KeyObject {
    const known = this.#privateKeys.get(row.key_id)
    if (known) return known
    const key = unsealKey(this.#deps.masterKey, row)
    this.#privateKeys.set(row.key_id, key)
    return key
  }
}
