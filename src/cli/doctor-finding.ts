// One thing that was looked at, and what was found.

/** `warn`: it will run, and not as well as it could. */
export type Finding = { name: string; outcome: 'ok' | 'warn' | 'fail'; says: string }

export function failed(name: string, error: unknown): Finding {
  return { name, outcome: 'fail', says: error instanceof Error ? error.message : String(error) }
}
