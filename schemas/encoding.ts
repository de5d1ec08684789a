// Text spellings of keys and signatures. Each value has one spelling only: whatever decodes here encodes to the same text.
// Forms: base64url without padding (RFC 4648), base58btc and Multikey (W3C Controlled Identifiers 1.0).

const base64urlDigits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const base58Digits = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
// Decoding base58 is quadratic; a signature is 88 digits.
const base58DigitsMax = 128

export const publicKeyPrefix = 'ed25519:pk_'
export const signaturePrefix = 'ed25519:'

/** base64url, no padding. */
export function toBase64url(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i
    const word = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    text += base64urlDigits[word >>> 18]! + base64urlDigits[(word >>> 12) & 63]!
    if (left > 1) text += base64urlDigits[(word >>> 6) & 63]!
    if (left > 2) text += base64urlDigits[word & 63]!
  }
  return text
}

/** The bytes of unpadded base64url; undefined for any other digit, length, or bits left over that are not zero. */
export function parseBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let held = 0
  let bits = 0
  let at = 0
  for (const digit of text) {
    held = ((held << 6) | base64urlDigits.indexOf(digit)) & 0xffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = held >>> bits
    }
  }
  return (held & ((1 << bits) - 1)) === 0 ? bytes : undefined
}

/** base58btc, without the multibase `z`. */
export function toBase58(bytes: Uint8Array): string {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  let text = ''
  for (; value > 0n; value /= 58n) text = base58Digits[Number(value % 58n)]! + text
  for (let i = 0; i < bytes.length && bytes[i] === 0; i++) text = `1${text}`
  return text
}

/** The bytes of base58btc; undefined for any other digit, or a text longer than a signature needs. */
export function parseBase58(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > base58DigitsMax) return undefined
  let value = 0n
  for (const digit of text) {
    const worth = base58Digits.indexOf(digit)
    if (worth < 0) return undefined
    value = value * 58n + BigInt(worth)
  }
  const bytes: number[] = []
  for (; value > 0n; value >>= 8n) bytes.unshift(Number(value & 255n))
  for (let i = 0; i < text.length && text[i] === '1'; i++) bytes.unshift(0)
  return Uint8Array.from(bytes)
}

/** `z6Mk…`: an Ed25519 public key as a Multikey. */
export function toMultikey(publicKey: Uint8Array): string {
  return `z${toBase58(Uint8Array.of(0xed, 0x01, ...publicKey))}`
}

/** The 32 bytes of an Ed25519 Multikey; undefined when the text is not one. */
export function parseMultikey(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = text.startsWith('z') ? parseBase58(text.slice(1)) : undefined
  if (bytes?.length !== 34 || bytes[0] !== 0xed || bytes[1] !== 0x01) return undefined
  return bytes.slice(2)
}

/** `ed25519:pk_…`, as headers and evidence show a public key. */
export function toPublicKeyText(publicKey: Uint8Array): string {
  return publicKeyPrefix + toBase64url(publicKey)
}

export function parsePublicKeyText(text: string): Uint8Array<ArrayBuffer> | undefined {
  return parseSized(text, publicKeyPrefix, 32)
}

/** `ed25519:…`, as headers and evidence show a signature. */
export function toSignatureText(signature: Uint8Array): string {
  return signaturePrefix + toBase64url(signature)
}

export function parseSignatureText(text: string): Uint8Array<ArrayBuffer> | undefined {
  return parseSized(text, signaturePrefix, 64)
}

function parseSized(
  text: string,
  prefix: string,
  bytes: number,
): Uint8Array<ArrayBuffer> | undefined {
  if (!text.startsWith(prefix)) return undefined
  const parsed = parseBase64url(text.slice(prefix.length))
  return parsed?.length === bytes ? parsed : undefined
}
