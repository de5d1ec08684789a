// SHA-256 by WebCrypto, for code that runs in the browser too.

import { toHex } from './ids.ts'

/** Bytes that WebCrypto takes: over memory of their own kind, never shared. */
export type Bytes = Uint8Array<ArrayBuffer>

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}

export async function sha256Hex(bytes: Bytes): Promise<string> {
  return toHex(await sha256(bytes))
}
