// Secrets at rest: AES-256-GCM under the master key, bound to the row they belong to, so that no row can pass for another.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { link, open, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'

const version = 1
const nonceBytes = 12
const tagBytes = 16
const fileName = 'master.key'

/** The master key: as given (64 hex digits or base64url), else from `master.key` in the data directory, made when missing. */
export async function loadMasterKey(from: {
  given: string | undefined
  dataDir: string
}): Promise<Buffer> {
  if (from.given !== undefined) return parseMasterKey(from.given, 'RUNLEDGER_MASTER_KEY')
  const path = join(from.dataDir, fileName)
  await createOnce(path)
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0)
    throw new Error(
      `${path} can be read by others than its owner. Make it private: chmod 600 ${path}`,
    )
  return parseMasterKey((await readFile(path, 'utf8')).trim(), path)
}

/** Version, nonce, ciphertext, tag. `row` names the place the secret is stored in, such as `subject_keys/<workspace>`. */
export function seal(masterKey: Uint8Array, row: string, secret: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', masterKey, nonce).setAAD(Buffer.from(row))
  const sealed = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([Uint8Array.of(version), nonce, sealed, cipher.getAuthTag()])
}

/** The secret again. Throws when the master key is another one, or the bytes are not those of this row. */
export function unseal(masterKey: Uint8Array, row: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed)
  try {
    if (bytes[0] !== version) throw new Error(`unknown form ${bytes[0]}`)
    const nonce = bytes.subarray(1, 1 + nonceBytes)
    const end = bytes.length - tagBytes
    const decipher = createDecipheriv('aes-256-gcm', masterKey, nonce, { authTagLength: tagBytes })
    decipher.setAAD(Buffer.from(row)).setAuthTag(bytes.subarray(end))
    return Buffer.concat([decipher.update(bytes.subarray(1 + nonceBytes, end)), decipher.final()])
  } catch (cause) {
    throw new Error(
      `${row} cannot be unsealed: it was sealed with another master key than this one, or changed since.`,
      { cause },
    )
  }
}

// Linked into place when whole, so that a crash leaves no half-written key, and the first of two makers wins.
async function createOnce(path: string): Promise<void> {
  try {
    await stat(path)
    return
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${randomBytes(32).toString('base64url')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(draft, path)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  } finally {
    await unlink(draft)
  }
}

function parseMasterKey(text: string, source: string): Buffer {
  const key = /^[0-9a-fA-F]{64}$/.test(text)
    ? Buffer.from(text, 'hex')
    : Buffer.from(text, 'base64url')
  if (key.length !== 32)
    throw new Error(`${source} does not hold 32 bytes as 64 hex digits or base64url.`)
  return key
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
