// Verifying Ed25519, twice. The noble engine is strict but multiplies by the cofactor; the platform's is cofactorless but may
// accept weak keys. A dishonest issuer can make a signature that one of them takes; asking both leaves only honest ones.

import { Point, verifyAsync } from '@noble/ed25519'
import type { Bytes } from './digest.ts'

// The order of the base point, RFC 8032 section 5.1.
const order = 2n ** 252n + 27742317777372353535851937790883648493n

export type Signed = {
  message: Bytes
  signature: Bytes
  publicKey: Bytes
}

/** RFC 8032 with canonical encodings only; refuses keys of small order. False for whatever is malformed. */
export async function verifyWithNoble({ message, signature, publicKey }: Signed): Promise<boolean> {
  if (signature.length !== 64 || publicKey.length !== 32) return false
  return verifyAsync(signature, message, publicKey, { zip215: false })
}

/** The platform's WebCrypto; where it has no Ed25519, the same cofactorless equation by hand. */
export async function verifyWithPlatform(signed: Signed): Promise<boolean> {
  const { message, signature, publicKey } = signed
  if (signature.length !== 64 || publicKey.length !== 32) return false
  let key: CryptoKey
  try {
    key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify'])
  } catch (error) {
    if ((error as { name?: unknown }).name !== 'NotSupportedError') return false // any thrown value may be asked for its name
    return verifyCofactorless(signed)
  }
  return crypto.subtle.verify({ name: 'Ed25519' }, key, signature, message)
}

/** Both engines, for signatures that are one check among several, as those of certificates are. */
export async function verifyTwice(signed: Signed): Promise<boolean> {
  return (await verifyWithNoble(signed)) && (await verifyWithPlatform(signed))
}

/** RFC 8032 5.1.7 without the cofactor: the encoding of [S]B − [k]A must be R, byte for byte. */
export async function verifyCofactorless(signed: Signed): Promise<boolean> {
  const { message, signature, publicKey } = signed
  const r = signature.subarray(0, 32)
  const s = toNumber(signature.subarray(32))
  if (s >= order) return false
  const hashed = new Uint8Array(64 + message.length)
  hashed.set(r, 0)
  hashed.set(publicKey, 32)
  hashed.set(message, 64)
  const k = toNumber(new Uint8Array(await crypto.subtle.digest('SHA-512', hashed))) % order
  try {
    const a = Point.fromBytes(publicKey, false)
    const expected = Point.BASE.multiply(s, false).subtract(a.multiply(k, false)).toBytes()
    return expected.every((byte, i) => byte === r[i])
  } catch {
    return false // the key is no point of the curve
  }
}

function toNumber(littleEndian: Uint8Array): bigint {
  let value = 0n
  for (let i = littleEndian.length - 1; i >= 0; i--)
    value = (value << 8n) | BigInt(littleEndian[i]!)
  return value
}
