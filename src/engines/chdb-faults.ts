// Failures as ClickHouse's HTTP interface tells them: "Code: N. DB::Exception: … (TYPE)", a header with N, a status.

const typeByCode = {
  36: 'BAD_ARGUMENTS',
  48: 'NOT_IMPLEMENTED',
  62: 'SYNTAX_ERROR',
  115: 'UNKNOWN_SETTING',
  159: 'TIMEOUT_EXCEEDED',
  164: 'READONLY',
  202: 'TOO_MANY_SIMULTANEOUS_QUERIES',
  210: 'NETWORK_ERROR',
  241: 'MEMORY_LIMIT_EXCEEDED',
  243: 'NOT_ENOUGH_SPACE',
  307: 'TOO_MANY_BYTES',
  354: 'ZLIB_INFLATE_FAILED',
  394: 'QUERY_WAS_CANCELLED',
  497: 'ACCESS_DENIED',
  516: 'AUTHENTICATION_FAILED',
  1000: 'POCO_EXCEPTION',
  1001: 'STD_EXCEPTION',
} as const

// As in ClickHouse's own HTTPHandler; whatever is not listed is 500.
const statusByCode: Record<number, number> = {
  6: 400,
  26: 400,
  27: 400,
  38: 400,
  41: 400,
  43: 400,
  53: 400,
  62: 400,
  70: 400,
  72: 400,
  115: 400,
  456: 400,
  16: 404,
  46: 404,
  47: 404,
  50: 404,
  60: 404,
  81: 404,
  48: 501,
  159: 408,
  202: 503,
  241: 500,
  307: 413,
  497: 403,
  516: 403,
}

export type FaultNumber = keyof typeof typeByCode

/** A failure found by the child itself, in the words of the engine. */
export class ChdbFault extends Error {
  readonly code: FaultNumber

  constructor(code: FaultNumber, says: string) {
    super(`Code: ${code}. DB::Exception: ${says} (${typeByCode[code]})`)
    this.name = 'ChdbFault'
    this.code = code
  }
}

export type Told = { code: number; status: number; text: string }

/** What the client is told. The binding fills its own code for few errors, so the number is read from the text. */
export function toTold(error: unknown): Told {
  const text = error instanceof Error ? error.message : String(error)
  const match = /Code: (\d+)\. /.exec(text)
  if (match) {
    const code = Number(match[1])
    return { code, status: statusByCode[code] ?? 500, text }
  }
  return toTold(new ChdbFault(systemCode(error), text))
}

function systemCode(error: unknown): FaultNumber {
  const name = error instanceof Error && 'code' in error ? error.code : undefined
  if (name === 'ENOSPC' || name === 'EDQUOT') return 243
  if (typeof name === 'string' && name.startsWith('Z_')) return 354
  return 1001
}
