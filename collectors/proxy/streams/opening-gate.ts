// The opening record of a call whose answer flows: signed while the upstream thinks, and durable before a byte leaves.

import type { SignedRecord } from '../../../schemas/record.ts'
import { pushRecord } from '../../spool/rows.ts'
import type { Call } from '../call.ts'
import { noRecord } from '../held-answer.ts'
import { openingOf } from '../openings.ts'
import { signOpening } from '../store-call.ts'

export class OpeningGate {
  /** True once the record is durable, or is known to be dropped by a route that allows it. */
  isOpen = false
  readonly record: SignedRecord
  /** The record once it is durable; undefined when it could not be stored. */
  readonly stored: Promise<SignedRecord | undefined>
  readonly #waiting: (() => void)[] = []

  /** Signs and stores it. `lost` is called when it could not be stored and the call may not go on without it. */
  constructor(call: Call, lost: (error: unknown) => void) {
    this.record = signOpening(call)
    this.stored = call.deps.intake
      .write((batch) => pushRecord(batch, this.record), { opens: openingOf(call, this.record) })
      .then(
        () => {
          this.#open()
          return this.record
        },
        (error) => {
          if (noRecord(call, error)) this.#open()
          else lost(error)
          return undefined
        },
      )
  }

  /** True when something waits that must keep its order. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Does it when the gate opens. Who waits has paused the upstream, so that little of it waits here. */
  wait(then: () => void): void {
    this.#waiting.push(then)
  }

  #open(): void {
    this.isOpen = true
    for (const then of this.#waiting.splice(0)) then()
  }
}
