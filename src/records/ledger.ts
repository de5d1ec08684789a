// The keys that records are signed with, kept in Postgres so that every process signs with the same one: a root certifies
// record keys, a workspace's own key yields the salts of its commitments. Keys are added and retired, never removed.

import type { KeyObject } from 'node:crypto'
import { randomBytes } from 'node:crypto'
import { toBase64url } from '../../schemas/encoding.ts'
import type { Tier } from '../../schemas/energy.ts'
import type { Disclosure } from '../../schemas/evidence.ts'
import { Fault } from '../../schemas/faults.ts'
import { type Id, toPrefixed, toUuid } from '../../schemas/ids.ts'
import type { Signer, SignerOf } from '../../schemas/record.ts'
import type { Sql } from '../accounts/keys.ts'
import { seal, unseal } from '../seal.ts'
import { KeyRing } from './key-ring.ts'
import { createSigner, deriveSalts } from './signer.ts'
import type { LedgerKey } from './signing-keys.ts'

// A workspace costs one small closure; the least recently used one is read from Postgres again.
const signersMax = 10_000

export type Ledger = {
  /** Cached; rejects with `service_unavailable` only for a workspace not seen lately while Postgres is away. */
  signerOf: SignerOf
  /** The salts of a record of this workspace. Throws `not_found` once the workspace's key was destroyed. */
  disclosureOf(workspace: string, recordId: Id): Promise<Disclosure>
  /** The key that signs now. */
  current(): LedgerKey
  /** The root that certified it, as a Multikey. */
  readonly root: string
  /** Every key there ever was, the newest first. */
  keys(): Promise<LedgerKey[]>
  /** A key by its id, current or past; undefined when it is none of ours. */
  findKey(keyId: string): Promise<LedgerKey | undefined>
  /** The private half of a key that is still held, for proofs made later; undefined when it is not. */
  findPrivateKey(keyId: string): Promise<KeyObject | undefined>
}

/**
 * Opens the key store, making root and record key when there are none; several processes may do so at once and end with the
 * same keys. Rejects when the stored keys were sealed with another master key.
 */
export async function openLedger(deps: {
  sql: Sql
  masterKey: Uint8Array
  /** The tier that the settings give a model. */
  tierOf?: (modelId: string) => Tier | undefined
  now?: () => number
}): Promise<Ledger> {
  const { sql, masterKey } = deps
  const tierOf = deps.tierOf ?? (() => undefined)
  const keys = await KeyRing.open({ sql, masterKey, now: deps.now ?? Date.now })
  // workspace → its salt key and, under the record key of the moment, its signer. Least recently used first.
  const subjects = new Map<string, Subject>()
  const loading = new Map<string, Promise<Subject>>()

  function findSubject(workspace: string): Subject | undefined {
    const known = subjects.get(workspace)
    if (known) {
      // While there is room for more, nobody is put out, and who came last does not matter.
      if (subjects.size > signersMax / 2) {
        subjects.delete(workspace)
        subjects.set(workspace, known)
      }
    }
    return known
  }

  async function getSubject(workspace: string): Promise<Subject> {
    const known = findSubject(workspace)
    if (known) return known
    const loaded = loading.get(workspace) ?? load(workspace)
    loading.set(workspace, loaded)
    try {
      return await loaded
    } finally {
      loading.delete(workspace)
    }
  }

  async function load(workspace: string): Promise<Subject> {
    const subject: Subject = {
      key: await ensureSubjectKey(sql, masterKey, workspace),
      signed: undefined,
    }
    subjects.set(workspace, subject)
    if (subjects.size > signersMax) subjects.delete(subjects.keys().next().value!)
    return subject
  }

  async function signerWith(workspace: string): Promise<Signer> {
    const subject = await getSubject(workspace)
    const key = await whilePostgresIsUp(() => keys.signingKey())
    if (subject.signed?.keyId !== key.keyId) {
      const signer = createSigner({ workspace, subjectKey: subject.key, key, tierOf })
      subject.signed = { keyId: key.keyId, signer: Promise.resolve(signer) }
    }
    return subject.signed.signer
  }

  return {
    root: keys.root,
    current: () => keys.current(),
    keys: () => keys.list(),
    findKey: (keyId) => keys.find(keyId),
    findPrivateKey: (keyId) => keys.findPrivateKey(keyId),

    signerOf(workspace) {
      const known = findSubject(workspace)?.signed
      return known && known.keyId === keys.ready()?.keyId ? known.signer : signerWith(workspace)
    },

    async disclosureOf(workspace, recordId) {
      const subject = await getSubject(workspace)
      const salts = deriveSalts(subject.key, recordId)
      return {
        record_id: toPrefixed('vaas', recordId),
        audit_id: toUuid(recordId),
        input_salt: toBase64url(salts.input),
        output_salt: toBase64url(salts.output),
      }
    },
  }
}

/** The promise of its signer is kept, because a call that waits for one already kept waits for one turn only. */
type Subject = { key: Buffer; signed: { keyId: string; signer: Promise<Signer> } | undefined }

type SubjectRow = { sealed_key: Buffer | null }

/** The first to insert decides; everyone reads what is there afterwards. A destroyed key stays destroyed. */
async function ensureSubjectKey(
  sql: Sql,
  masterKey: Uint8Array,
  workspace: string,
): Promise<Buffer> {
  const name = `subject_keys/${workspace}`
  const read = () =>
    sql.query<SubjectRow>('SELECT sealed_key FROM subject_keys WHERE workspace = $1', [workspace])
  let [row] = await whilePostgresIsUp(read)
  if (!row) {
    const sealed = seal(masterKey, name, randomBytes(32))
    await whilePostgresIsUp(() =>
      sql.query(
        'INSERT INTO subject_keys (workspace, sealed_key) VALUES ($1, $2) ON CONFLICT DO NOTHING',
        [workspace, sealed],
      ),
    )
    ;[row] = await whilePostgresIsUp(read)
  }
  if (!row?.sealed_key)
    throw new Fault('not_found', { message: 'The keys of this workspace were destroyed.' })
  return unseal(masterKey, name, row.sealed_key)
}

async function whilePostgresIsUp<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (cause) {
    throw new Fault('service_unavailable', {}, { cause })
  }
}
