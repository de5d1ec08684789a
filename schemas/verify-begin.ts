// The opening record inside a pack: signed before the answer, named by the final record, about the same call.

import { type Finding, no, open, yes } from './check.ts'
import { type Bytes, sha256Hex } from './digest.ts'
import { verifyTwice } from './ed25519.ts'
import { parseMultikey, parseSignatureText } from './encoding.ts'
import type { Begin, Evidence } from './evidence.ts'
import { NotCanonical, toJcsBytes } from './jcs.ts'
import { checkCertificate, checkWindow } from './verify-key.ts'

// What both phases say; the rest of the call, such as who answers, is not known when the first is signed.
const same = ['type', 'record_id', 'run_id', 'trace_id'] as const

/** The opening record is the one that the final one names, about the same call, and signed. */
export async function checkBegin(evidence: Evidence, publicKey: Bytes): Promise<Finding> {
  const { begin, payload } = evidence
  const named = payload.begin_sha256 ?? null
  if (!begin)
    return named === null
      ? open('The call had no opening record.')
      : no('The payload names an opening record that the pack does not have.')
  const message = findBytes(begin)
  if (!message || (await sha256Hex(message)) !== named)
    return no('The opening record is not the one that payload.begin_sha256 names.')
  const other = same.find((name) => begin.payload[name] !== payload[name])
  if (other) return no(`The opening record has another ${other}.`)
  // A body that streams in is not known whole when the call begins; once promised, it may not change.
  const promised = begin.payload.input_hash
  if (promised !== null && promised !== payload.input_hash)
    return no('The opening record committed to another input.')
  if (begin.payload.phase !== 'begin' || begin.payload.status !== 'open')
    return no('The opening record is not of the phase begin, status open.')
  const signer = await findBeginKey(evidence, begin, publicKey)
  if (typeof signer === 'string') return no(signer)
  const signature = parseSignatureText(begin.signature)!
  return (await verifyTwice({ message, signature, publicKey: signer }))
    ? yes('The opening record was signed before, and the final one names it.')
    : no('The signature of the opening record is not of its key.')
}

/** The key that signed the opening record, or why it cannot be believed. */
async function findBeginKey(
  { payload, key: finalKey }: Evidence,
  begin: Begin,
  publicKey: Bytes,
): Promise<Bytes | string> {
  if (begin.payload.key_id === payload.key_id)
    return begin.key ? 'begin.key is there, though both phases have one key.' : publicKey
  const { key } = begin
  const bytes = key && parseMultikey(key.publicKeyMultibase)
  if (!key || !bytes) return 'The opening record was signed by a key that the pack does not have.'
  const chain = await checkCertificate(key, bytes, begin.payload.key_id)
  if (!chain.ok) return `The key of the opening record: ${chain.reason}`
  if (key.certificate.root !== finalKey?.certificate.root)
    return 'The key of the opening record has another root.'
  const window = checkWindow(key, [String(begin.payload.started_at)])
  return window.ok ? bytes : `The key of the opening record: ${window.reason}`
}

function findBytes(begin: Begin): Bytes | undefined {
  try {
    return toJcsBytes(begin.payload)
  } catch (error) {
    if (error instanceof NotCanonical) return undefined
    throw error
  }
}
