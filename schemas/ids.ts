// Every id this product gives out, parsed once at the door. An id that passed here is well-formed everywhere else.

/** Sixteen bytes, a UUIDv7 (RFC 9562): a run, a record, a request. Spelled as a ULID after its prefix, or as a UUID. */
export type Id = Uint8Array & { readonly __id: unique symbol }
/** A trace id as 32 lower-case hex digits, never all zero. */
export type TraceId = string & { readonly __traceId: unique symbol }
/** A span id as 16 lower-case hex digits, never all zero. */
export type SpanId = string & { readonly __spanId: unique symbol }
/** A prompt version as `<slug>@<version>`, or `default` for a run with none. */
export type PromptVersionId = string & {
  readonly __promptVersionId: unique symbol
}

export type IdPrefix = 'run' | 'vaas' | 'req' | 'preg' | 'pexp'

const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const slugPattern = /^[a-z0-9._-]{1,64}$/
const versionPattern = /^[A-Za-z0-9._-]{1,64}$/

let pool = new Uint8Array(0)
let poolAt = 0

/** A new id: 48 bits of milliseconds since 1970, then 74 random bits. Sorts by time; the random part is not guessable. */
export function newId(nowMs: number = Date.now()): Id {
  if (poolAt + 10 > pool.length) {
    pool = crypto.getRandomValues(new Uint8Array(4000))
    poolAt = 0
  }
  const id = new Uint8Array(16)
  const high = Math.floor(nowMs / 2 ** 32)
  const low = nowMs >>> 0
  id[0] = high >>> 8
  id[1] = high
  id[2] = low >>> 24
  id[3] = low >>> 16
  id[4] = low >>> 8
  id[5] = low
  id.set(pool.subarray(poolAt, poolAt + 10), 6)
  poolAt += 10
  id[6] = (id[6]! & 0x0f) | 0x70
  id[8] = (id[8]! & 0x3f) | 0x80
  return id as Id
}

/** Random bytes for a span or trace id; never all zero. */
export function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes))
  if (random.every((byte) => byte === 0)) return randomHex(bytes)
  return toHex(random)
}

/** `run_01K…`: the prefix and the 26 Crockford digits of the sixteen bytes. */
export function toPrefixed(prefix: IdPrefix, id: Uint8Array): string {
  return `${prefix}_${toUlid(id)}`
}

/** The 26 digits of a ULID (github.com/ulid/spec): 130 bits, the first two always zero. In one piece: every call spells its ids seven times. */
export function toUlid(id: Uint8Array): string {
  let bits = 0
  let held = 2
  let at = 0
  for (let i = 0; i < 16; i++) {
    bits = (bits << 8) | id[i]!
    held += 8
    while (held >= 5) {
      held -= 5
      digits[at++] = crockford.charCodeAt((bits >>> held) & 0x1f)
    }
    bits &= (1 << held) - 1
  }
  return String.fromCharCode.apply(undefined, digits)
}

const digits = new Array<number>(26).fill(0)

/** `0190a…-…`: the same sixteen bytes as a UUID, lower case. */
export function toUuid(id: Uint8Array): string {
  const hex = toHex(id)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The bytes of `<prefix>_<ULID>`; undefined when the text is not one. Case of the digits does not matter. */
export function parsePrefixed(prefix: IdPrefix, text: string): Id | undefined {
  if (!text.startsWith(`${prefix}_`)) return undefined
  return parseUlid(text.slice(prefix.length + 1))
}

/** The bytes of a UUID of any version; undefined when the text is not one. */
export function parseUuid(text: string): Id | undefined {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text))
    return undefined
  return fromHex(text.replaceAll('-', '')) as Id
}

/** A trace id from hex of either case; undefined when it is not 32 digits or all zero (W3C trace context, OTLP). */
export function parseTraceId(text: string): TraceId | undefined {
  if (!/^[0-9a-fA-F]{32}$/.test(text) || /^0+$/.test(text)) return undefined
  return text.toLowerCase() as TraceId
}

/** A span id from hex of either case; undefined when it is not 16 digits or all zero. */
export function parseSpanId(text: string): SpanId | undefined {
  if (!/^[0-9a-fA-F]{16}$/.test(text) || /^0+$/.test(text)) return undefined
  return text.toLowerCase() as SpanId
}

export function isSlug(text: string): boolean {
  return slugPattern.test(text)
}

export function isVersion(text: string): boolean {
  return versionPattern.test(text)
}

/** `support@v2` in its two parts; undefined when either part is malformed. */
export function parsePromptVersionId(text: string): { slug: string; version: string } | undefined {
  const at = text.indexOf('@')
  if (at < 0) return undefined
  const slug = text.slice(0, at)
  const version = text.slice(at + 1)
  return isSlug(slug) && isVersion(version) ? { slug, version } : undefined
}

const hexDigits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i++) text += hexDigits[bytes[i]!]
  return text
}

/** Bytes of an even run of hex digits. The caller has checked the digits. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = (digitOf(text.charCodeAt(2 * i)) << 4) | digitOf(text.charCodeAt(2 * i + 1))
  return bytes
}

// Letters of either case are 9 more than their low four bits.
function digitOf(code: number): number {
  return (code & 0x0f) + (code >= 0x41 ? 9 : 0)
}

function parseUlid(text: string): Id | undefined {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i.test(text)) return undefined
  const upper = text.toUpperCase()
  const id = new Uint8Array(16)
  let bits = 0
  let held = -2
  let at = 0
  for (let i = 0; i < 26; i++) {
    bits = (bits << 5) | crockford.indexOf(upper[i]!)
    held += 5
    if (held >= 8) {
      held -= 8
      id[at++] = bits >>> held
      bits &= (1 << held) - 1
    }
  }
  return id as Id
}
