// Whether a destination is this very plane: every span it takes would come back as another one, for ever.

import { isLoopback } from '../accounts/accounts.ts'

const ports: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** `own`: where this plane listens, or was just spoken to. What a name leads to is not asked: pushes say who sent them. */
export function isOwnAddress(target: URL, own: URL): boolean {
  // Behind a balancer we are spoken to without its scheme; without a port it is that of theirs.
  const port = ports[target.protocol] ?? ''
  if ((target.port || port) !== (own.port || port)) return false
  const [theirs, ours] = [bareOf(target), bareOf(own)]
  return theirs === ours || (isLoopback(theirs) && isLoopback(ours))
}

function bareOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}
