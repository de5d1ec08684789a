// Signing, synchronously: facts in, canonical bytes and their signature out. Only node:crypto signs; noble verifies.

import { createHmac, hash, type KeyObject, sign } from 'node:crypto'
import {
  commitmentPrefix,
  commitmentTag,
  type Form,
  type Role,
  saltInfo,
  toCommittedText,
} from '../schemas/commit.ts'
import type { Tier } from '../schemas/energy.ts'
import type { JsonObject } from '../schemas/evidence.ts'
import { type Id, toPrefixed } from '../schemas/ids.ts'
import { toJcs } from '../schemas/jcs.ts'
import type { RecordFacts, RecordPhase, SignedRecord, Signer } from '../schemas/record.ts'
import { type Commitment, toBeginPayload, toFinalPayload } from '../schemas/record-payload.ts'

export type SigningKey = {
  keyId: string
  /** `ed25519:pk_…` */
  publicKeyText: string
  /** Kept parsed: reading it from text each time costs ten signatures. */
  privateKey: KeyObject
}

/** The signer of one workspace. `tierOf` gives the tier that the settings name for a model, for its energy. */
export function createSigner(of: {
  workspace: string
  subjectKey: Uint8Array
  key: SigningKey
  tierOf: (modelId: string) => Tier | undefined
}): Signer {
  const { key, workspace } = of

  function seal(
    facts: RecordFacts,
    phase: RecordPhase,
    payload: JsonObject,
    input: Commitment,
  ): SignedRecord {
    if (facts.workspace !== workspace)
      throw new Error('A record was signed for another workspace than its own.')
    const canonical = Buffer.from(toJcs(payload), 'utf8')
    return {
      recordId: facts.recordId,
      runId: facts.runId,
      workspace,
      traceId: facts.traceId,
      phase,
      canonical,
      signature: sign(null, canonical, key.privateKey),
      keyId: key.keyId,
      inputHash: input.hash,
      outputHash: typeof payload.output_hash === 'string' ? payload.output_hash : null,
      ...(input.form === 'es-json' ? { inputForm: input.form } : undefined),
      context: '{}',
    }
  }

  return {
    publicKey: key.publicKeyText,
    keyId: key.keyId,

    begin(facts) {
      const salts = deriveSalts(of.subjectKey, facts.recordId)
      const input = toCommitment('input', facts.input, salts)
      return seal(facts, 'begin', toBeginPayload(facts, { keyId: key.keyId, input }), input)
    },

    final(facts, begun) {
      const salts = deriveSalts(of.subjectKey, facts.recordId)
      // A long prompt is hashed once: the opening record has said it, and the final one must not say otherwise.
      const input: Commitment =
        begun && begun.inputHash !== null
          ? { hash: begun.inputHash, form: begun.inputForm ?? 'jcs' }
          : toCommitment('input', facts.input, salts)
      const payload = toFinalPayload(facts, {
        keyId: key.keyId,
        input,
        output: toCommitment('output', facts.output, salts),
        beginSha256: begun ? hash('sha256', begun.canonical, 'hex') : null,
        tier: of.tierOf(facts.modelId),
      })
      return seal(facts, 'final', payload, input)
    },
  }
}

/** Both salts of a record: HKDF-SHA256 (RFC 5869) of one block each, sharing the extract step. A third of hkdfSync's time. */
export function deriveSalts(
  subjectKey: Uint8Array,
  recordId: Id | string,
): Record<Role, () => Buffer> {
  const id = typeof recordId === 'string' ? recordId : toPrefixed('vaas', recordId)
  let pseudorandom: Buffer | undefined
  const expand = (role: Role) => () => {
    pseudorandom ??= createHmac('sha256', id).update(subjectKey).digest()
    return createHmac('sha256', pseudorandom)
      .update(`${saltInfo(role)}\x01`)
      .digest()
  }
  return { input: expand('input'), output: expand('output') }
}

const tags = {
  jcs: { input: commitmentTag('input', 'jcs'), output: commitmentTag('output', 'jcs') },
  'es-json': {
    input: commitmentTag('input', 'es-json'),
    output: commitmentTag('output', 'es-json'),
  },
} satisfies Record<Form, Record<Role, Uint8Array>>

/** The commitment of schemas/commit.ts, by node:crypto. Nothing to commit to, or no JSON at all, gives a null hash. */
function toCommitment(role: Role, value: unknown, salts: Record<Role, () => Buffer>): Commitment {
  const read = value === undefined ? undefined : toCommittedText(value)
  if (!read) return { hash: null, form: 'jcs' }
  const inner = hash('sha256', read.text, 'buffer')
  const whole = Buffer.concat([tags[read.form][role], salts[role](), inner])
  return { hash: commitmentPrefix + hash('sha256', whole, 'hex'), form: read.form }
}
