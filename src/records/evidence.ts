// Evidence packs, put together from stored bytes. The payload is shown as it was signed; the W3C proof, which follows from it
// and the key, is made when evidence is first asked for.

import { hash, type KeyObject, sign } from 'node:crypto'
import { toBase58, toSignatureText } from '../../schemas/encoding.ts'
import {
  type Evidence,
  type EvidenceKey,
  type JsonObject,
  type Proof,
  toProofConfig,
  toVerificationMethod,
} from '../../schemas/evidence.ts'
import { Fault } from '../../schemas/faults.ts'
import { toPrefixed } from '../../schemas/ids.ts'
import { toJcs } from '../../schemas/jcs.ts'
import type { Ledger } from './ledger.ts'
import type { StoredPhase, StoredRecord } from './records.ts'
import type { LedgerKey } from './signing-keys.ts'

// A proof costs one signature and is about 300 bytes; the oldest goes first.
const proofsMax = 10_000

export type Evidences = {
  /** The pack of a record whose final phase is there. */
  of(record: StoredRecord & { final: StoredPhase }): Promise<Evidence>
}

export function openEvidence(ledger: Pick<Ledger, 'findKey' | 'findPrivateKey'>): Evidences {
  const proofs = new Map<string, Proof>()

  async function prove(
    recordId: string,
    final: StoredPhase,
    key: LedgerKey,
  ): Promise<Proof | null> {
    const known = proofs.get(recordId)
    if (known) return known
    const privateKey = await ledger.findPrivateKey(final.keyId)
    if (!privateKey) return null
    const { completed_at: completedAt } = readPayload(final)
    const proof = makeProof({
      canonical: final.canonical,
      completedAt: String(completedAt),
      multikey: key.publicKeyMultibase,
      privateKey,
    })
    proofs.set(recordId, proof)
    if (proofs.size > proofsMax) proofs.delete(proofs.keys().next().value!)
    return proof
  }

  async function getKey(keyId: string): Promise<LedgerKey> {
    const key = await ledger.findKey(keyId)
    if (!key)
      throw new Fault(
        'internal',
        {},
        { cause: new Error(`A record names the unknown key ${keyId}.`) },
      )
    return key
  }

  return {
    async of(record) {
      const { final, begin } = record
      const recordId = toPrefixed('vaas', record.recordId)
      const key = await getKey(final.keyId)
      const payload = readPayload(final)
      const text = (name: string) => (typeof payload[name] === 'string' ? payload[name] : null)
      return {
        record_id: recordId,
        run_id: text('run_id'),
        trace_id: text('trace_id'),
        customer_trace_id: text('trace_id'),
        route_id: text('route_id'),
        public_route_label: text('public_route_label'),
        provider: text('provider'),
        environment: text('environment'),
        prompt_version_id: text('prompt_version_id'),
        verification_method: 'Ed25519Signature2020',
        signature_input: 'rfc8785(payload)',
        public_key: key.public_key,
        signature: toSignatureText(final.signature),
        payload,
        payload_sha256: hash('sha256', final.canonical, 'hex'),
        // An opening record that the final one does not name, as after a crash, is no part of what was signed.
        begin: begin && payload.begin_sha256 ? await toBegin(begin, final.keyId) : null,
        proof: await prove(recordId, final, key),
        key: toEvidenceKey(key),
        inclusion: { status: 'pending', origin: null, promised_by: null },
      }
    },
  }

  async function toBegin(begin: StoredPhase, finalKeyId: string): Promise<Evidence['begin']> {
    const pair = { payload: readPayload(begin), signature: toSignatureText(begin.signature) }
    if (begin.keyId === finalKeyId) return pair
    const key = toEvidenceKey(await getKey(begin.keyId))
    return key ? { ...pair, key } : pair
  }
}

/** W3C eddsa-jcs-2022, created at the second the record was completed: the same record always gets the same proof. */
export function makeProof(of: {
  canonical: Uint8Array
  completedAt: string
  multikey: string
  privateKey: KeyObject
}): Proof {
  const proof: Proof = {
    type: 'DataIntegrityProof',
    cryptosuite: 'eddsa-jcs-2022',
    created: of.completedAt.replace(/\.\d{3}Z$/, 'Z'),
    verificationMethod: toVerificationMethod(of.multikey),
    proofPurpose: 'assertionMethod',
    proofValue: '',
  }
  const hashes = Buffer.concat([
    hash('sha256', toJcs(toProofConfig(proof)), 'buffer'),
    hash('sha256', of.canonical, 'buffer'),
  ])
  return { ...proof, proofValue: `z${toBase58(sign(null, hashes, of.privateKey))}` }
}

/** What the signed bytes say. */
export function readPayload(phase: Pick<StoredPhase, 'canonical'>): JsonObject {
  return JSON.parse(phase.canonical.toString('utf8')) as JsonObject // our own canonical bytes
}

function toEvidenceKey(key: LedgerKey): EvidenceKey | null {
  if (!key.certificate) return null
  return {
    key_id: key.key_id,
    publicKeyMultibase: key.publicKeyMultibase,
    not_before: key.not_before,
    not_after: key.not_after,
    status: key.status,
    certificate: key.certificate,
  }
}
