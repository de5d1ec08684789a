// `Expect: 100-continue`: the sender waits to be told that its body is wanted. It is told when the body is about to be read,
// so that a request which is refused by its head is refused before its body has travelled (RFC 9110, 10.1.1).

import type { IncomingMessage, ServerResponse } from 'node:http'

const waiting = new WeakMap<IncomingMessage, ServerResponse>()

/** For a server's `checkContinue`. */
export function holdContinue(req: IncomingMessage, res: ServerResponse): void {
  waiting.set(req, res)
}

/** The body is wanted now. */
export function sendContinue(req: IncomingMessage): void {
  const res = waiting.get(req)
  if (!res) return
  waiting.delete(req)
  res.writeContinue()
}

/** True when the sender still waits: there is no body on its way to be dropped, and the connection must end with the answer. */
export function neverContinued(req: IncomingMessage): boolean {
  const res = waiting.get(req)
  if (!res) return false
  res.shouldKeepAlive = false
  return true
}
