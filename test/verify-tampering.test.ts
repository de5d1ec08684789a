// Whatever is changed in a pack is refused, under the name of the check that found it; and what opens a commitment.

import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkNames } from '../schemas/check.ts'
import { sha256Hex } from '../schemas/digest.ts'
import { toMultikey, toSignatureText } from '../schemas/encoding.ts'
import { toJcsBytes } from '../schemas/jcs.ts'
import { type Check, toVerdict, verifyEvidence } from '../schemas/verify.ts'
import {
  certificateOf,
  facts,
  input,
  output,
  packOf,
  rootMultikey,
  signer,
  signingKey,
} from './signed.ts'

const roots = [rootMultikey]
const strangersKey = toMultikey(new Uint8Array(32).fill(0xaa))

describe('tampering', () => {
  let text: string
  beforeAll(async () => {
    text = JSON.stringify((await packOf()).pack)
    expect(toVerdict(await verifyEvidence(text, { roots }))).toBe('valid')
  })

  test('any changed character anywhere in a pack is refused', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(text.length - 1),
        fc.integer({ min: 0x20, max: 0x7e }),
        async (at, code) => {
          const other = String.fromCharCode(code)
          fc.pre(other !== text[at])
          const tampered = text.slice(0, at) + other + text.slice(at + 1)
          expect([tampered, toVerdict(await verifyEvidence(tampered, { roots }))]).toEqual([
            tampered,
            'invalid',
          ])
        },
      ),
      { seed: 20261120, numRuns: 400 },
    )
  })

  test('every single flipped bit of signature, proof, payload hash and certificate is refused', async () => {
    const { pack } = await packOf()
    for (const part of [
      pack.signature,
      pack.proof!.proofValue,
      pack.key!.certificate.signature,
      pack.begin!.signature,
    ]) {
      const at = text.indexOf(part)
      for (let i = part.length - 12; i < part.length; i++) {
        const flipped = text.charCodeAt(at + i) ^ 1
        const tampered =
          text.slice(0, at + i) + String.fromCharCode(flipped) + text.slice(at + i + 1)
        expect(toVerdict(await verifyEvidence(tampered, { roots }))).toBe('invalid')
      }
    }
  })

  test.each<[string, string, unknown, string]>([
    ['a changed usage', 'payload.usage.output_tokens', 5, 'canonical'],
    ['a name that differs from the payload', 'provider', 'anthropic', 'schema'],
    ['a member that nothing covers', 'note', 'trust me', 'schema'],
    ['a claimed inclusion', 'inclusion.status', 'integrated', 'schema'],
    ['the proof of another second', 'proof.created', '2026-11-20T17:12:02Z', 'proof'],
    ['a longer validity', 'key.not_after', '2029-01-01T00:00:00.000Z', 'certificate'],
    ['another purpose', 'key.certificate.payload.purposes', ['log'], 'certificate'],
    ['a root that did not sign', 'key.certificate.root', strangersKey, 'certificate'],
    [
      'a key that is its own root',
      'key.certificate.root',
      signingKey.publicKeyMultibase,
      'certificate',
    ],
    ['no certificate', 'key', null, 'certificate'],
    ['a compromised key', 'key.status', 'compromised', 'window'],
    ['an opening record left out', 'begin', null, 'begin'],
    ['another opening record', 'begin.payload.model_id', 'gpt-5', 'begin'],
    [
      'the opening signature of something else',
      'begin.signature',
      `ed25519:${'A'.repeat(86)}`,
      'begin',
    ],
  ])('%s fails under its own name', async (_, path, value, name) => {
    const { pack } = await packOf()
    set(pack, path, value)
    expect(failing(await verifyEvidence(pack, { roots }))[0]).toBe(name)
  })

  test('a certificate that allows something else, or that a key gave itself, is none, however well signed', async () => {
    const { pack } = await packOf()
    const { payload } = pack.key!.certificate
    for (const certificate of [
      certificateOf({ ...payload, purposes: ['log'] }, 'root'),
      certificateOf({ ...payload, type: 'vaas.key/v2' }, 'root'),
      certificateOf(payload, 'record'),
    ]) {
      set(pack, 'key.certificate', certificate)
      const checks = await verifyEvidence(pack, { roots: [certificate.root] })
      expect(failing(checks)).toEqual(['certificate'])
    }
    set(pack, 'key.certificate', certificateOf(payload, 'root'))
    expect(toVerdict(await verifyEvidence(pack, { roots }))).toBe('valid')
  })

  test('an opening record of the same call that was truly signed, but is not the one named, is refused', async () => {
    const { pack } = await packOf()
    const other = signer.begin(facts({ modelId: 'gpt-5' }))
    set(pack, 'begin.payload', JSON.parse(Buffer.from(other.canonical).toString()))
    set(pack, 'begin.signature', toSignatureText(other.signature))
    expect(failing(await verifyEvidence(pack, { roots }))).toEqual(['begin'])
  })

  test('a second spelling of the same signature bytes is refused', async () => {
    const { pack } = await packOf()
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const next = digits[digits.indexOf(pack.signature.at(-1)!) + 1]
    set(pack, 'signature', pack.signature.slice(0, -1) + next)
    expect(failing(await verifyEvidence(pack, { roots }))).toEqual(['schema'])
  })

  test('checks that were not made are no yes', () => {
    const made = (ok: boolean | null) => checkNames.map((name) => ({ name, ok, reason: '' }))
    expect([toVerdict([]), toVerdict(made(null)), toVerdict(made(true))]).toEqual([
      'invalid',
      'invalid',
      'valid',
    ])
    for (const name of [
      'schema',
      'canonical',
      'signature_noble',
      'signature_webcrypto',
      'certificate',
      'window',
    ])
      expect(toVerdict(made(true).filter((check) => check.name !== name))).toBe('invalid')
  })

  test('a changed payload whose hash was made to fit fails at the signature, in both engines', async () => {
    const { pack } = await packOf()
    set(pack, 'payload.usage.output_tokens', 5)
    pack.payload_sha256 = await sha256Hex(toJcsBytes(pack.payload))
    const checks = failing(await verifyEvidence(pack, { roots }))
    expect(checks).toEqual(['signature_noble', 'signature_webcrypto', 'proof'])
  })

  test('an honest pack without its proof is valid still: the signature stands alone', async () => {
    const { pack } = await packOf()
    const checks = await verifyEvidence({ ...pack, proof: null }, { roots })
    expect([toVerdict(checks), named(checks, 'proof').ok]).toEqual(['valid', null])
  })

  test('stored bytes that are not the canonical ones are named', async () => {
    const { pack, final } = await packOf()
    const stored = Buffer.concat([final.canonical, Buffer.from(' ')])
    expect(failing(await verifyEvidence(pack, { roots, canonical: stored }))).toEqual(['canonical'])
  })

  test('a call outside the validity of its key is refused', async () => {
    const completedAt = new Date('2027-03-01T00:00:00.001Z')
    const { pack } = await packOf({ completedAt })
    expect(failing(await verifyEvidence(pack, { roots }))).toEqual(['window'])
  })

  test.each(['', 'null', '[]', '{', '{"payload":1,"payload":2}', 'x'.repeat(2 ** 21)])(
    'what is no pack is refused at the schema, and every other check says it was not made',
    async (nothing) => {
      const checks = await verifyEvidence(nothing)
      expect(failing(checks)).toEqual(['schema'])
      expect(checks.slice(1).every((check) => check.ok === null)).toBe(true)
      expect(toVerdict(checks)).toBe('invalid')
    },
  )
})

describe('disclosure', () => {
  const request = JSON.stringify({
    ...input,
    stream: true,
    stream_options: { include_usage: true },
  })
  const answer = JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    ...output,
    usage: {},
  })

  test.each<[string, string, string]>([
    ['the very objects', JSON.stringify(input), JSON.stringify(output)],
    ['the request with its transport keys and the whole answer', request, answer],
    [
      'other spacing and order',
      JSON.stringify(input, null, 2),
      JSON.stringify(output, ['choices', 'message', 'index', 'content', 'role', 'finish_reason']),
    ],
  ])('%s open both commitments', async (_, given, got) => {
    const { pack, salts } = await packOf()
    const checks = await verifyEvidence(pack, {
      roots,
      disclosed: { ...salts, input: given, output: got },
    })
    expect(named(checks, 'disclosure').ok).toBe(true)
  })

  test('another text, another salt, and the salts of another record do not', async () => {
    const { pack, salts } = await packOf()
    const swapped = { input_salt: salts.output_salt, output_salt: salts.input_salt }
    const text = JSON.stringify(input)
    for (const disclosed of [
      { ...salts, input: text.replace('yes', 'no') },
      { ...swapped, input: text },
      { input: text },
      { ...salts, input: text, record_id: 'vaas_01K7R00000E008000000000009' },
    ]) {
      expect(failing(await verifyEvidence(pack, { roots, disclosed }))).toEqual(['disclosure'])
    }
  })

  test('plain text and JSON outside I-JSON can be committed to and opened', async () => {
    const odd = JSON.parse('{"seed":12345678901234567890,"text":"\\ud800"}')
    const { pack, salts } = await packOf({ input: odd, output: 'hello' })
    expect(pack.payload.input_form).toBe('es-json')
    const disclosed = { ...salts, input: JSON.stringify(odd), output: 'hello\n' }
    const checks = await verifyEvidence(pack, { roots, disclosed })
    expect([toVerdict(checks), named(checks, 'disclosure').ok]).toEqual(['valid', true])
  })
})

function named(checks: Check[], name: Check['name']): Check {
  return checks.find((check) => check.name === name)!
}

function failing(checks: Check[]): string[] {
  return checks.filter((check) => check.ok === false).map((check) => check.name)
}

/** Sets the member at a dotted path, which exists but for its last name. */
function set(target: object, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop() ?? ''
  let at = target as Record<string, unknown> // walked by names that the pack has
  for (const name of names) at = at[name] as Record<string, unknown>
  at[last] = value
}
