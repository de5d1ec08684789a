// One call of an experiment, made once: claimed under a lease, paid for before it is made, its answer stored before anyone
// builds on it. What a crash can cost is one call more for each that was under way.

import type { Arm, ArmRequest, CallAnswer } from '../schemas/replay.ts'
import type { Usage } from '../schemas/run.ts'
import type { Loopback } from './loopback.ts'

/** How long a claim lives without a sign of life. Short, so that a crash delays little; renewed at a third of it. */
export const leaseMs = 12_000

/** `judge …` beside the arms: what judges ask is claimed and paid for alike. */
export type CallName = { unit: number; arm: Arm | `judge ${string}`; step: number }

export type Claim =
  | { kind: 'mine' }
  | { kind: 'known'; answer: CallAnswer }
  /** Someone else is at it, and alive. */
  | { kind: 'taken' }
  /** Nothing more may be called: the budget is used up, or the experiment has ended. */
  | { kind: 'stopped' }

/** Where calls are kept. Every method is one transaction. */
export type CallLedger = {
  claim(call: CallName, terms: { leaseMs: number; reserveNanoUsd: number }): Promise<Claim>
  renew(call: CallName, leaseMs: number): Promise<void>
  /** Stores the answer and replaces the reservation by what the call cost; null: unknown, the reservation stands. */
  settle(call: CallName, answer: CallAnswer, costNanoUsd: number | null): Promise<void>
}

/** What a call of this model costs in nano-USD; null for a model without a price. `isNeutral`: as if nothing had been cached. */
export type PriceOf = (
  call: { model: string; routeId: string; served: string },
  usage: Usage,
  isNeutral?: boolean,
) => number | null

export type CallDeps = {
  experimentId: string
  workspace: string
  ledger: CallLedger
  loopback: Loopback
  priceOf: PriceOf
  signal: AbortSignal
}

/** Somebody else holds the call, or nothing may be called any more: the job ends, and the sweep looks again. */
export class NotNow extends Error {
  override name = 'NotNow'
}

/** The stored answer of this call, made now if it was not made before. Throws NotNow. */
export function callOnce(
  deps: CallDeps,
  name: CallName,
  asked: { request: ArmRequest; routeId: string; reserveNanoUsd: number },
): Promise<CallAnswer> {
  return answerOnce(deps, name, {
    reserveNanoUsd: asked.reserveNanoUsd,
    make: () =>
      deps.loopback.chat({
        workspace: deps.workspace,
        request: asked.request,
        idempotencyKey: `${deps.experimentId}-${name.unit}-${name.arm.replaceAll(' ', '-')}-${name.step}`,
        sessionId: deps.experimentId,
        routeId: asked.routeId,
        signal: deps.signal,
      }),
    costOf: (answer) => costOf(deps, asked, answer),
  })
}

/** The same for a call of any kind: `make` is called by whoever has claimed and paid for it. Throws NotNow. */
export async function answerOnce(
  { ledger }: Pick<CallDeps, 'ledger'>,
  name: CallName,
  call: {
    reserveNanoUsd: number
    make: () => Promise<CallAnswer>
    costOf: (answer: CallAnswer) => number | null
  },
): Promise<CallAnswer> {
  const claim = await ledger.claim(name, { leaseMs, reserveNanoUsd: call.reserveNanoUsd })
  if (claim.kind === 'known') return claim.answer
  if (claim.kind !== 'mine') throw new NotNow(claim.kind)
  // A renewal that fails leaves the lease to run out: the worst is the call made twice, which is counted.
  const renewing = setInterval(() => void ledger.renew(name, leaseMs).catch(() => {}), leaseMs / 3)
  try {
    const answer = await call.make()
    await ledger.settle(name, answer, call.costOf(answer))
    return answer
  } finally {
    clearInterval(renewing)
  }
}

/** What a call cost in nano-USD; null where that is not known. */
export function costOf(
  { priceOf }: Pick<CallDeps, 'priceOf'>,
  { request, routeId }: { request: ArmRequest; routeId: string },
  answer: CallAnswer,
  isNeutral = false,
): number | null {
  // Refused is free; what was answered in another form, or broke off, may have been billed.
  if (answer.kind === 'failed') return answer.status === null || answer.status === 200 ? null : 0
  if (answer.usage === null) return null
  const served = answer.modelServed ?? request.model
  return priceOf({ model: request.model, routeId, served }, answer.usage, isNeutral)
}
