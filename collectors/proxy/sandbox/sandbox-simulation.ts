// `X-Sandbox: latency=200,ttft=50,pace=10,error=429,truncate=10`: what a caller asks the sandbox to play.

// Longer than any timeout of ours, so that each of them can be tried.
const delayMsMax = 600_000
const truncateMax = 1_000_000

export type Simulation = {
  /** Before the head of the answer. */
  latencyMs: number
  /** Between the head and the first piece of the body. */
  ttftMs: number
  /** Between two pieces of the body. */
  paceMs: number
  /** Answer with this status instead. */
  error: number | undefined
  /** Break the connection after so many events of a stream, or bytes of a JSON body. */
  truncate: number | undefined
}

export const emptySimulation: Simulation = {
  latencyMs: 0,
  ttftMs: 0,
  paceMs: 0,
  error: undefined,
  truncate: undefined,
}

/** What the header asks for, or a sentence that says what is wrong with it. */
export function readSimulation(
  header: string | string[] | undefined,
): Simulation | { mistake: string } {
  if (header === undefined) return emptySimulation
  const simulation = { ...emptySimulation }
  for (const part of String(header).split(',')) {
    const [, name, digits] = /^\s*([a-z]+)\s*=\s*(\d{1,9})\s*$/.exec(part) ?? []
    const value = Number(digits)
    if (name === 'latency' && value <= delayMsMax) simulation.latencyMs = value
    else if (name === 'ttft' && value <= delayMsMax) simulation.ttftMs = value
    else if (name === 'pace' && value <= delayMsMax) simulation.paceMs = value
    else if (name === 'error' && value >= 400 && value <= 599) simulation.error = value
    else if (name === 'truncate' && value <= truncateMax) simulation.truncate = value
    else return { mistake: `[sandbox] X-Sandbox does not know "${part.trim().slice(0, 64)}".` }
  }
  return simulation
}
