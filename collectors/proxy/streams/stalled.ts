// A client that takes nothing any more has gone without saying so; one that is given nothing waits.

import type { ServerResponse } from 'node:http'

const stalledMs = 120_000

/** Ends an answer of which nothing was taken for so long. Where nothing is left to take, the upstream is what is slow: it has its own bounds. */
export function endWhenStalled(res: ServerResponse, afterMs = stalledMs): void {
  res.setTimeout(afterMs, () => {
    if (res.writableLength > 0) res.destroy()
  })
}
