// Why a key may be believed: its certificate, signed by a root that the verifier knew before. A key that arrives with the
// signature it verifies proves nothing.

import { type Finding, no, open, yes } from './check.ts'
import { verifyTwice } from './ed25519.ts'
import { parseMultikey, parseSignatureText, toBase64url, toMultikey } from './encoding.ts'
import type { EvidenceKey } from './evidence.ts'
import { toJcsBytes } from './jcs.ts'

/** The JWK thumbprint (RFC 7638, RFC 8037) of an Ed25519 key: what `key_id` is. */
export async function toKeyId(publicKey: Uint8Array): Promise<string> {
  const jwk = `{"crv":"Ed25519","kty":"OKP","x":"${toBase64url(publicKey)}"}`
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(jwk))
  return toBase64url(new Uint8Array(digest))
}

/** The root says that this key signs records under this `key_id`. */
export async function checkCertificate(
  key: EvidenceKey | null | undefined,
  publicKey: Uint8Array,
  keyId: unknown,
): Promise<Finding> {
  if (!key)
    return no('There is no certificate: a key that comes with the signature proves nothing.')
  const { payload, signature, root } = key.certificate
  const multikey = toMultikey(publicKey)
  if ((await toKeyId(publicKey)) !== keyId)
    return no('payload.key_id is not the thumbprint of the key.')
  if (key.key_id !== keyId || key.publicKeyMultibase !== multikey)
    return no('key describes another key than public_key.')
  if (payload.type !== 'vaas.key/v1') return no('The certificate is not of type vaas.key/v1.')
  if (payload.key_id !== keyId || payload.public_key !== multikey)
    return no('The certificate is for another key.')
  if (!Array.isArray(payload.purposes) || !payload.purposes.includes('record'))
    return no('The certificate does not allow this key to sign records.')
  if (payload.not_before !== key.not_before || payload.not_after !== key.not_after)
    return no('key names other dates than its certificate.')
  const rootKey = parseMultikey(root)
  if (!rootKey || root === multikey) return no('The certificate names no root of its own.')
  const signed = {
    message: toJcsBytes(payload),
    signature: parseSignatureText(signature) ?? new Uint8Array(0),
    publicKey: rootKey,
  }
  if (!(await verifyTwice(signed))) return no(`The root ${root} did not sign this certificate.`)
  return yes(`The root ${root} certified the key ${key.key_id} for records.`)
}

/** The root is one that the verifier was given apart from the pack. */
export function checkRoot(key: EvidenceKey | null, roots: readonly string[] | undefined): Finding {
  if (!key) return no('There is no certificate, so there is no root.')
  const { root } = key.certificate
  if (!roots || roots.length === 0)
    return open(`Compare ${root} with the root you know from another source than this pack.`)
  return roots.includes(root)
    ? yes('The root is one you gave.')
    : no(`The root ${root} is not one you gave.`)
}

/** The record was completed, and its proof made, while the certificate held. Dates of one fixed form compare as text. */
export function checkWindow(key: EvidenceKey | null, moments: readonly string[]): Finding {
  if (!key) return no('There is no certificate, so there is no validity window.')
  if (key.status === 'compromised')
    return no(
      'The key was compromised; without a witnessed log no signature of it can be told from a forgery.',
    )
  const from = Date.parse(key.not_before)
  const until = Date.parse(key.not_after)
  const outside = moments.find(
    (moment) => !(Date.parse(moment) >= from && Date.parse(moment) <= until),
  )
  if (outside !== undefined)
    return no(
      `${outside} is outside ${key.not_before} to ${key.not_after}, when the key was valid.`,
    )
  return yes(`Signed while the key was valid, ${key.not_before} to ${key.not_after}.`)
}
