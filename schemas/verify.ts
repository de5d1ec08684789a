// One verification for the page, the API and the command line: pure, offline, every check under its own name.
// The signature is checked over the canonical bytes of the payload that is shown, never over bytes that nobody sees.

import { type Check, type CheckName, checkNames, type Finding, no, open, yes } from './check.ts'
import { type Bytes, sha256, sha256Hex } from './digest.ts'
import { verifyTwice, verifyWithNoble, verifyWithPlatform } from './ed25519.ts'
import { parseBase58, parsePublicKeyText, parseSignatureText, toMultikey } from './encoding.ts'
import { type Evidence, toProofConfig, toVerificationMethod } from './evidence.ts'
import { NotCanonical, toJcsBytes } from './jcs.ts'
import { NotStrictJson, parseStrictJson } from './strict-json.ts'
import { checkBegin } from './verify-begin.ts'
import { checkDisclosed, type Disclosed } from './verify-disclosed.ts'
import { checkCertificate, checkRoot, checkWindow } from './verify-key.ts'
import { readPack } from './verify-pack.ts'

export { type Check, type CheckName, firstFailure, toVerdict, type Verdict } from './check.ts'
export type { Disclosure, Evidence } from './evidence.ts'
export type { Disclosed } from './verify-disclosed.ts'

export type VerifyOptions = {
  /** Roots known from elsewhere, as Multikeys (`z6Mk…`). Without one the chain ends in a root that nobody vouched for. */
  roots?: readonly string[]
  /** The bytes that were stored, where the verifier has them: they must be the payload's canonical bytes. */
  canonical?: Uint8Array
  /** Texts as the caller holds them, with the salts of the disclosure: compared with the commitments. */
  disclosed?: Disclosed
}

type Findings = Partial<Record<CheckName, Finding>>

/**
 * Every check of an evidence pack, in a fixed order, always all of them. `pack` is the text of the file, read strictly, or a
 * value that was parsed elsewhere. Rejects only when the platform has no WebCrypto (a page that is not served securely).
 */
export async function verifyEvidence(pack: unknown, options: VerifyOptions = {}): Promise<Check[]> {
  if (!globalThis.crypto?.subtle)
    throw new Error(
      'This page has no WebCrypto: it must be opened over https, from localhost, or as a file.',
    )
  const read = readText(pack)
  if (read.mistake !== undefined) return toChecks({ schema: no(read.mistake) })
  const { pack: evidence, mistakes } = readPack(read.value)
  const schema =
    mistakes.length === 0 ? yes('Every member is known and of its form.') : no(mistakes.join(' '))
  if (!evidence) return toChecks({ schema })
  let message: Bytes
  try {
    message = toJcsBytes(evidence.payload)
  } catch (error) {
    if (!(error instanceof NotCanonical)) throw error
    return toChecks({
      schema,
      canonical: no(`The payload has no canonical form: ${error.message}`),
    })
  }
  return toChecks({ schema, ...(await checkAll(evidence, message, options)) })
}

async function checkAll(
  evidence: Evidence,
  message: Bytes,
  options: VerifyOptions,
): Promise<Findings> {
  const { payload, key, proof } = evidence
  const publicKey = parsePublicKeyText(evidence.public_key)!
  const signed = { message, signature: parseSignatureText(evidence.signature)!, publicKey }
  const moments = [String(payload.completed_at), ...(proof ? [proof.created] : [])]
  return {
    canonical: await checkCanonical(evidence, message, options.canonical),
    signature_noble: toFinding(await verifyWithNoble(signed), 'noble, strict'),
    signature_webcrypto: toFinding(await verifyWithPlatform(signed), 'WebCrypto, cofactorless'),
    proof: await checkProof(evidence, message, publicKey),
    certificate: await checkCertificate(key, publicKey, payload.key_id),
    root: checkRoot(key, options.roots),
    window: checkWindow(key, moments),
    begin: await checkBegin(evidence, publicKey),
    inclusion: open('Not in a transparency log yet: the log of this issuer is not open.'),
    disclosure: await checkDisclosed(payload, options.disclosed),
  }
}

async function checkCanonical(
  evidence: Evidence,
  message: Bytes,
  stored: Uint8Array | undefined,
): Promise<Finding> {
  const digest = await sha256Hex(message)
  if (digest !== evidence.payload_sha256)
    return no(`The canonical payload hashes to ${digest}, not to payload_sha256.`)
  if (
    stored &&
    !(stored.length === message.length && stored.every((byte, i) => byte === message[i]))
  )
    return no('The stored bytes are not the canonical bytes of the payload.')
  return yes(`${message.length} bytes of RFC 8785, SHA-256 ${digest}.`)
}

/** W3C eddsa-jcs-2022: the signature covers SHA-256(JCS(proof without its value)) then SHA-256(JCS(payload)). */
async function checkProof(evidence: Evidence, message: Bytes, publicKey: Bytes): Promise<Finding> {
  const { proof } = evidence
  if (!proof) return open('The pack has no W3C proof; the signature alone stands.')
  if (proof.verificationMethod !== toVerificationMethod(toMultikey(publicKey)))
    return no('The proof names another key than public_key.')
  const hashes = new Uint8Array(64)
  hashes.set(await sha256(toJcsBytes(toProofConfig(proof))), 0)
  hashes.set(await sha256(message), 32)
  const signature = parseBase58(proof.proofValue.slice(1)) ?? new Uint8Array(0)
  return (await verifyTwice({ message: hashes, signature, publicKey }))
    ? yes('The eddsa-jcs-2022 proof covers this payload.')
    : no('The eddsa-jcs-2022 proof is not a signature of this payload by this key.')
}

function readText(pack: unknown): { value?: unknown; mistake?: string } {
  if (typeof pack !== 'string') return { value: pack }
  try {
    return { value: parseStrictJson(pack) }
  } catch (error) {
    if (error instanceof NotStrictJson) return { mistake: error.message }
    throw error
  }
}

function toFinding(verified: boolean, engine: string): Finding {
  return verified
    ? yes(`The signature is the key's, says ${engine}.`)
    : no(`The signature is not of this payload by this key, says ${engine}.`)
}

function toChecks(findings: Findings): Check[] {
  return checkNames.map((name) => ({
    name,
    ...(findings[name] ?? open('Not checked: the pack cannot be read that far.')),
  }))
}
