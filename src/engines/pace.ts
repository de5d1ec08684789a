// How the engine shares the processor with the plane: it yields while spans come in, so that they are acknowledged in time. At rest it
// has an equal part, for whoever reads; and when inserts follow each other without a pause, because then the spool fills faster than
// it is drained.

/** Of the engine's session as a whole, on the scale of `nice`. */
export const sessionNiceness = { yielding: 10, equal: 0 } as const

type Niceness = (typeof sessionNiceness)[keyof typeof sessionNiceness]

// A backlog is told from one long insert by what the last seconds were like. At 60,000 spans/s inserts take 0.4 of the time.
const memoryMs = 1_500
const behindShare = 0.9
const caughtUpShare = 0.7
// Below, no acknowledgement waits for the engine, and what reads beside a busy machine would starve.
const loadedShare = 0.25
const restingShare = 0.15

export type PaceDeps = {
  nowMs: () => number
  /** Makes it so; false when that must be tried again later. */
  say: (niceness: Niceness) => boolean
}

export class Pace {
  readonly #deps: PaceDeps
  #running = 0
  /** Of the time, the latest counting most, in which an insert was under way. */
  #busyShare = 0
  #lookedMs: number
  #wanted: Niceness = sessionNiceness.equal
  #said: Niceness | undefined

  constructor(deps: PaceDeps) {
    this.#deps = deps
    this.#lookedMs = deps.nowMs()
    this.look()
  }

  begin(): void {
    this.look()
    this.#running += 1
  }

  end(): void {
    this.look()
    this.#running -= 1
  }

  /** To be called now and then, for an insert may take long. */
  look(): void {
    const nowMs = this.#deps.nowMs()
    const kept = Math.exp((this.#lookedMs - nowMs) / memoryMs)
    this.#busyShare = this.#busyShare * kept + (this.#running > 0 ? 1 - kept : 0)
    this.#lookedMs = nowMs
    const share = this.#busyShare
    if (share > behindShare || share < restingShare) this.#wanted = sessionNiceness.equal
    else if (share > loadedShare && share < caughtUpShare) this.#wanted = sessionNiceness.yielding
    if (this.#said !== this.#wanted && this.#deps.say(this.#wanted)) this.#said = this.#wanted
  }
}
