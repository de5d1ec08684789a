// The checks of an evidence pack by name, in the order they are made, and what they add up to.

export const checkNames = [
  'schema',
  'canonical',
  'signature_noble',
  'signature_webcrypto',
  'proof',
  'certificate',
  'root',
  'window',
  'begin',
  'inclusion',
  'disclosure',
] as const
export type CheckName = (typeof checkNames)[number]

/** `ok` is null when there was nothing to check, or nothing to check it against; `reason` says which, in a sentence. */
export type Check = { name: CheckName; ok: boolean | null; reason: string }

/** What one check found, before it has its name. */
export type Finding = { ok: boolean | null; reason: string }

/** `unanchored`: nothing is wrong, but the root key was not compared with one known from elsewhere. */
export type Verdict = 'valid' | 'unanchored' | 'invalid'

const needed: readonly CheckName[] = [
  'schema',
  'canonical',
  'signature_noble',
  'signature_webcrypto',
  'certificate',
  'window',
]

/** One failed check, or one needed and not made, and the pack is invalid: null is never taken for a yes. */
export function toVerdict(checks: readonly Check[]): Verdict {
  const found = new Map(checks.map((check) => [check.name, check.ok]))
  if (checks.some((check) => check.ok === false)) return 'invalid'
  if (needed.some((name) => found.get(name) !== true)) return 'invalid'
  return found.get('root') === true ? 'valid' : 'unanchored'
}

/** The first check that failed, or that was needed and could not be made. */
export function firstFailure(checks: readonly Check[]): Check | undefined {
  return (
    checks.find((check) => check.ok === false) ??
    checks.find((check) => check.ok !== true && needed.includes(check.name))
  )
}

export function yes(reason: string): Finding {
  return { ok: true, reason }
}

export function no(reason: string): Finding {
  return { ok: false, reason }
}

export function open(reason: string): Finding {
  return { ok: null, reason }
}
