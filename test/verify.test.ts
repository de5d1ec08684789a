// The golden packs and the vectors of others: what must verify does, byte for byte.

import { createPublicKey, hkdfSync, verify as nodeVerify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { commit, saltBytes, saltInfo } from '../schemas/commit.ts'
import { sha256Hex } from '../schemas/digest.ts'
import { verifyCofactorless, verifyWithNoble, verifyWithPlatform } from '../schemas/ed25519.ts'
import { parsePublicKeyText, toMultikey } from '../schemas/encoding.ts'
import type { Evidence } from '../schemas/evidence.ts'
import { fromHex } from '../schemas/ids.ts'
import { toJcs, toJcsBytes } from '../schemas/jcs.ts'
import { type Check, toVerdict, verifyEvidence } from '../schemas/verify.ts'
import { toKeyId } from '../schemas/verify-key.ts'
import { makeProof } from '../src/records/evidence.ts'
import { deriveSalts } from '../src/records/signer.ts'
import { toPrivateKey } from '../src/records/signing-keys.ts'
import { packOf } from './signed.ts'

const golden = read('golden-1')
const whole = read('golden-2')

describe('the worked example', () => {
  const canonical = new TextEncoder().encode(golden.canonical)
  const publicKey = parsePublicKeyText(golden.public_key)!

  test.each(['input', 'output'] as const)(
    'its %s commits to the documented hash, in the browser and here',
    async (role) => {
      const text = toJcs(golden[role])
      const subjectKey = fromHex(golden.subject_key)
      const info = saltInfo(role)
      const salt = new Uint8Array(hkdfSync('sha256', subjectKey, golden.record_id, info, saltBytes))
      expect(await sha256Hex(new TextEncoder().encode(text))).toBe(golden[`${role}_inner`])
      expect(Buffer.from(salt).toString('base64url')).toBe(golden[`${role}_salt`])
      expect(deriveSalts(subjectKey, golden.record_id)[role]).toEqual(Buffer.from(salt))
      expect(await commit({ role, form: 'jcs', text }, salt)).toBe(golden[`${role}_hash`])
    },
  )

  test('its bytes, key, signature and proof are the documented ones', async () => {
    expect(toJcs(JSON.parse(golden.canonical))).toBe(golden.canonical)
    expect(await sha256Hex(canonical)).toBe(golden.canonical_sha256)
    expect(await toKeyId(publicKey)).toBe(golden.key_id)
    expect(toMultikey(publicKey)).toBe(golden.multikey)
    const proof = makeProof({
      canonical,
      completedAt: '2026-11-20T17:12:01.456Z',
      multikey: golden.multikey,
      privateKey: toPrivateKey(fromHex(golden.seed), publicKey),
    })
    expect(proof.proofValue).toBe(golden.proof_value)
  })

  test('as a pack, its signature and proof verify, and without a certificate it is still not valid', async () => {
    const checks = await verifyEvidence(examplePack())
    const found = Object.fromEntries(checks.map((check) => [check.name, check.ok]))
    expect(found).toMatchObject({
      schema: true,
      canonical: true,
      signature_noble: true,
      signature_webcrypto: true,
      proof: true,
    })
    expect(found).toMatchObject({ certificate: false, inclusion: null })
    expect(toVerdict(checks)).toBe('invalid')
  })
})

test('the W3C vector of eddsa-jcs-2022 has the same bytes under our canonical form', async () => {
  const vector = read('eddsa-jcs-2022')
  const { proofValue: _, ...config } = vector.proof
  expect(toJcs(vector.document)).toBe(vector.canonical_document)
  expect(toJcs(config)).toBe(vector.canonical_proof)
  const hashes = [await sha256Hex(toJcsBytes(config)), await sha256Hex(toJcsBytes(vector.document))]
  expect(hashes.join('')).toBe(vector.hash_data)
})

test('of signatures that implementations disagree about, both engines together take none but the two that all equations take', async () => {
  const taken: boolean[][] = []
  for (const { message, signature, pub_key } of read('ed25519-speccheck').cases) {
    const signed = {
      message: bytes(message),
      signature: bytes(signature),
      publicKey: bytes(pub_key),
    }
    taken.push([
      await verifyWithNoble(signed),
      await verifyWithPlatform(signed),
      await verifyCofactorless(signed),
    ])
  }
  const both = taken.map(([noble, platform]) => noble && platform)
  const agreed = [false, false, true, true, ...Array(8).fill(false)]
  // The platform of Node 24 refuses one of the two as well, for its point of small order: stricter is well.
  expect(both.filter((isTaken, i) => isTaken && !agreed[i])).toEqual([])
  expect(both[3]).toBe(true)
  // What stands in for a platform without Ed25519 is never laxer than the equations.
  expect(taken.map(([noble, , byHand]) => noble && byHand)).toEqual(agreed)
  expect(taken.some(([noble, platform]) => noble !== platform)).toBe(true)
})

test('the golden pack is valid under its root, and unanchored without one', async () => {
  const options = { roots: [whole.root], disclosed: whole.disclosed }
  expect(toVerdict(await verifyEvidence(JSON.stringify(whole.pack), options))).toBe('valid')
  expect(named(await verifyEvidence(whole.pack, options), 'disclosure').ok).toBe(true)
  expect(toVerdict(await verifyEvidence(whole.pack))).toBe('unanchored')
  const other = await verifyEvidence(whole.pack, { roots: [golden.multikey] })
  expect(failing(other)).toEqual(['root'])
})

test('what we sign today is byte for byte the golden pack', async () => {
  expect((await packOf()).pack).toEqual(whole.pack)
})

test('ten lines of another hand verify the golden pack', () => {
  const pack = whole.pack
  const sorted = (value: unknown): unknown =>
    Array.isArray(value) || typeof value !== 'object' || value === null
      ? value
      : Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([k, v]) => [k, sorted(v)]),
        )
  const x = pack.public_key.replace('ed25519:pk_', '')
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
  const signature = Buffer.from(pack.signature.replace('ed25519:', ''), 'base64url')
  expect(nodeVerify(null, Buffer.from(JSON.stringify(sorted(pack.payload))), key, signature)).toBe(
    true,
  )
  expect(
    nodeVerify(
      null,
      Buffer.from(JSON.stringify(sorted({ ...pack.payload, status: 'truncated' }))),
      key,
      signature,
    ),
  ).toBe(false)
})

function read(name: string) {
  return JSON.parse(
    readFileSync(new URL(`../schemas/vectors/${name}.json`, import.meta.url), 'utf8'),
  )
}

function bytes(hex: string) {
  return fromHex(hex).slice()
}

function named(checks: Check[], name: Check['name']): Check {
  return checks.find((check) => check.name === name)!
}

function failing(checks: Check[]): string[] {
  return checks.filter((check) => check.ok === false).map((check) => check.name)
}

/** The worked example in the members of a pack; it was made before certificates and public labels. */
function examplePack(): Evidence {
  const payload = JSON.parse(golden.canonical)
  return {
    record_id: payload.record_id,
    run_id: payload.run_id,
    trace_id: payload.trace_id,
    customer_trace_id: payload.trace_id,
    route_id: null,
    public_route_label: null,
    provider: payload.provider,
    environment: payload.environment,
    prompt_version_id: payload.prompt_version_id,
    verification_method: 'Ed25519Signature2020',
    signature_input: 'rfc8785(payload)',
    public_key: golden.public_key,
    signature: golden.signature,
    payload,
    payload_sha256: golden.canonical_sha256,
    begin: null,
    proof: {
      type: 'DataIntegrityProof',
      cryptosuite: 'eddsa-jcs-2022',
      created: '2026-11-20T17:12:01Z',
      verificationMethod: `did:key:${golden.multikey}#${golden.multikey}`,
      proofPurpose: 'assertionMethod',
      proofValue: golden.proof_value,
    },
    key: null,
    inclusion: { status: 'pending', origin: null, promised_by: null },
  }
}
