// A key store in memory and calls with fixed dates, for tests of signing and verifying. The statements are those of src, told
// apart by their beginnings; the laws of real Postgres (locks, one active key) are tested against real Postgres.

import { sign } from 'node:crypto'
import { toMultikey, toSignatureText } from '../schemas/encoding.ts'
import type { Certificate, Evidence, JsonObject } from '../schemas/evidence.ts'
import { type Id, parseUuid } from '../schemas/ids.ts'
import { toJcs } from '../schemas/jcs.ts'
import type { RecordFacts, SignedRecord } from '../schemas/record.ts'
import type { Sql } from '../src/accounts/keys.ts'
import { openEvidence } from '../src/records/evidence.ts'
import type { StoredPhase } from '../src/records/records.ts'
import { createSigner, deriveSalts } from '../src/records/signer.ts'
import {
  certify,
  type LedgerKey,
  toKeyIdSync,
  toLedgerKey,
  toPrivateKey,
} from '../src/records/signing-keys.ts'

type Stored = Record<string, unknown>

/** As much of Postgres as the ledger asks: both key tables, and the unique indexes that its inserts lean on. */
export function memorySql(): Sql & { signing: Stored[]; subjects: Stored[]; asked: number } {
  const signing: Stored[] = []
  const subjects: Stored[] = []
  const insertKey = (p: readonly unknown[]) => {
    const [key_id, purpose, public_key, sealed_seed, certificate, not_before, not_after] = p
    if (signing.some((row) => row.purpose === purpose && row.status === 'active')) return
    const parsed = typeof certificate === 'string' ? JSON.parse(certificate) : null
    signing.push({
      key_id,
      purpose,
      public_key,
      sealed_seed,
      status: 'active',
      certificate: parsed,
      not_before,
      not_after,
    })
  }
  const sql = {
    signing,
    subjects,
    asked: 0,
    async query<T>(text: string, params: readonly unknown[] = []): Promise<T[]> {
      sql.asked += 1
      await Promise.resolve()
      let rows: Stored[] = []
      if (text.startsWith('SELECT sealed_key'))
        rows = subjects.filter((row) => row.workspace === params[0])
      else if (text.startsWith('INSERT INTO subject_keys')) {
        if (!subjects.some((row) => row.workspace === params[0]))
          subjects.push({ workspace: params[0], sealed_key: params[1] })
      } else if (text.startsWith('INSERT INTO signing_keys')) insertKey(params)
      else if (text.startsWith('WITH retired')) {
        const old = signing.find((row) => row.key_id === params[7] && row.status === 'active')
        if (old) {
          old.status = 'retired'
          insertKey(params)
        }
      } else if (text.includes("status = 'active'"))
        rows = signing.filter((row) => row.purpose === params[0] && row.status === 'active')
      else if (text.startsWith('SELECT') && text.endsWith('FROM signing_keys')) rows = signing
      else throw new Error(`This memory does not know: ${text}`)
      return rows.map((row) => ({ ...row })) as T[] // rows were stored in the form their statement names
    },
  }
  return sql
}

// RFC 8032 section 7.1, TEST 1 signs records, TEST 2 is the root.
const recordSeed = Buffer.from(
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
  'hex',
)
const recordPublic = Buffer.from(
  'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  'hex',
)
const rootSeed = Buffer.from(
  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
  'hex',
)
const rootPublic = Buffer.from(
  '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  'hex',
)

export const workspace = '0190b5a0-0000-7000-8000-000000000001'
export const rootMultikey = toMultikey(rootPublic)
export const subjectKey = Buffer.alloc(32, 7)

const row = {
  key_id: toKeyIdSync(recordPublic),
  public_key: recordPublic,
  not_before: new Date('2026-11-01T00:00:00.000Z'),
  not_after: new Date('2027-03-01T00:00:00.000Z'),
}
export const privateKey = toPrivateKey(recordSeed, recordPublic)
export const signingKey = toLedgerKey({
  ...row,
  purpose: 'record',
  sealed_seed: Buffer.alloc(0),
  status: 'active',
  certificate: certify(row, {
    multikey: rootMultikey,
    privateKey: toPrivateKey(rootSeed, rootPublic),
  }),
})
export const signer = createSigner({
  workspace,
  subjectKey,
  key: { keyId: row.key_id, publicKeyText: signingKey.public_key, privateKey },
  tierOf: () => undefined,
})

/** Any certificate payload, properly signed: by the root, or by the record key for itself. */
export function certificateOf(payload: JsonObject, by: 'root' | 'record'): Certificate {
  const key = by === 'root' ? toPrivateKey(rootSeed, rootPublic) : privateKey
  const root = by === 'root' ? rootMultikey : signingKey.publicKeyMultibase
  return { payload, signature: toSignatureText(sign(null, Buffer.from(toJcs(payload)), key)), root }
}

export const input = {
  messages: [{ content: 'yes', role: 'user' }],
  model: 'gpt-4o-mini',
  temperature: 0.2,
}
export const output = {
  choices: [{ finish_reason: 'stop', index: 0, message: { content: 'ok ✓', role: 'assistant' } }],
}

export function facts(changes: Partial<RecordFacts> = {}): RecordFacts {
  return {
    recordId: parseUuid('0199f000-0000-7000-8000-000000000001') as Id,
    runId: parseUuid('0199f000-0000-7000-8000-000000000002') as Id,
    workspace,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    routeId: 'support/default',
    routeLabel: 'managed-text',
    routePublic: true,
    provider: 'openai',
    environment: 'production',
    promptVersionId: 'support@v2',
    modelId: 'gpt-4o-mini-2024-07-18',
    status: 'completed',
    startedAt: new Date('2026-11-20T17:12:00.123Z'),
    completedAt: new Date('2026-11-20T17:12:01.456Z'),
    input,
    output,
    usage: {
      inputTokens: 9,
      cachedTokens: 0,
      outputTokens: 4,
      reasoningTokens: 0,
      estimated: false,
    },
    upstream: { responseId: 'chatcmpl-1', systemFingerprint: 'fp_1', requestId: 'req_1' },
    ...changes,
  }
}

/** The pack that the API would answer for a call, with its salts; through the same functions. */
export async function packOf(
  changes: Partial<RecordFacts> = {},
  keys: Map<string, LedgerKey> = new Map([[row.key_id, signingKey]]),
): Promise<{
  pack: Evidence
  begun: SignedRecord
  final: SignedRecord
  salts: { input_salt: string; output_salt: string }
}> {
  const call = facts(changes)
  const begun = signer.begin({
    ...call,
    status: 'open',
    completedAt: undefined,
    output: undefined,
    usage: undefined,
  })
  const final = signer.final(call, begun)
  const evidence = openEvidence({
    findKey: async (keyId) => keys.get(keyId),
    findPrivateKey: async () => privateKey,
  })
  const pack = await evidence.of({
    recordId: call.recordId,
    workspace,
    begin: toStored(begun),
    final: toStored(final),
  })
  const salts = deriveSalts(subjectKey, call.recordId)
  return {
    pack: structuredClone(pack),
    begun,
    final,
    salts: {
      input_salt: salts.input.toString('base64url'),
      output_salt: salts.output.toString('base64url'),
    },
  }
}

export function toStored(signed: SignedRecord): StoredPhase {
  return {
    canonical: Buffer.from(signed.canonical),
    signature: Buffer.from(signed.signature),
    keyId: signed.keyId,
    context: signed.context,
  }
}
