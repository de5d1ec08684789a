// Passwords, as scrypt hashes that carry their own parameters, so that these can be raised without asking anybody.

import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { Fault } from '../../schemas/faults.ts'

// OWASP's table for scrypt: 32 MiB for about a quarter of a second. Less would help whoever steals the table.
const cost = { N: 2 ** 15, r: 8, p: 3 }
const hashBytes = 32
const saltBytes = 16
// Each takes a thread of the pool that zlib and the disk use too, and 32 MiB.
const atOnceMax = 2
const waitingMax = 32

let running = 0
const waiting: (() => void)[] = []

/** `scrypt$N$r$p$salt$hash`, both in base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes)
  const made = await derive(password, salt, cost)
  return ['scrypt', cost.N, cost.r, cost.p, toText(salt), toText(made)].join('$')
}

/** Takes as long for a user without a password, or for none at all, as for a wrong one. */
export async function isPassword(password: string, stored: string | null): Promise<boolean> {
  const [kind, N, r, p, salt, hash] = (stored ?? nobody).split('$')
  if (kind !== 'scrypt' || !salt || !hash) throw new Error('A stored password has another form.')
  const known = Buffer.from(hash, 'base64url')
  const params = { N: Number(N), r: Number(r), p: Number(p) }
  const made = await derive(password, Buffer.from(salt, 'base64url'), params)
  return timingSafeEqual(made, known) && stored !== null
}

const nobody = `scrypt$${cost.N}$${cost.r}$${cost.p}$${toText(randomBytes(saltBytes))}$${toText(randomBytes(hashBytes))}`

async function derive(password: string, salt: Buffer, params: typeof cost): Promise<Buffer> {
  if (running >= atOnceMax) {
    if (waiting.length >= waitingMax) throw new Fault('service_unavailable')
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else running += 1
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const maxmem = 256 * params.N * params.r
      // Two spellings of one character are one password (NIST SP 800-63B, 5.1.1.2).
      scrypt(password.normalize('NFKC'), salt, hashBytes, { ...params, maxmem }, (error, made) =>
        error ? reject(error) : resolve(made),
      )
    })
  } finally {
    // The place is handed on rather than given up, so that a newcomer cannot take it.
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }
}

function toText(bytes: Buffer): string {
  return bytes.toString('base64url')
}
