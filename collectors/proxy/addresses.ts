// Which addresses may be reached when a stranger named them: public ones only.
// Source of the ranges: the IANA special-purpose address registries (RFC 6890 and its updates).

import { lookup as resolve } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

const refused4: [string, number][] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

// Of IPv6 only 2000::/3 is given out; within it, the ranges that carry an IPv4 address or are for documents.
const refused6: [string, number][] = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

// A list each, because a BlockList reads every IPv4 address as its mapped IPv6 one too.
const ipv4 = new BlockList()
const ipv6 = new BlockList()
for (const [net, prefix] of refused4) ipv4.addSubnet(net, prefix, 'ipv4')
for (const [net, prefix] of refused6) ipv6.addSubnet(net, prefix, 'ipv6')

export class AddressRefused extends Error {
  readonly code = 'ADDRESS_REFUSED'
}

export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !ipv4.check(address, 'ipv4')
  return family === 6 && !ipv6.check(address, 'ipv6')
}

/** Throws when a host written as an address is not public; a name is checked by `publicLookup` when it is connected to. */
export function refuseLiteral(host: string): void {
  const bare = host.startsWith('[') ? host.slice(1, -1) : host
  if (isIP(bare) !== 0 && !isPublicAddress(bare)) {
    throw new AddressRefused(`The address ${bare} is not a public one.`)
  }
}

/**
 * Resolves a name for the socket that is about to connect, so that nothing can change between check and use.
 * One address that is not public refuses the name: it has no honest reason to have both kinds.
 */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, { ...options, all: true }, (error, addresses) => {
    const bad = error ? undefined : addresses.find(({ address }) => !isPublicAddress(address))
    if (error || bad || addresses.length === 0) {
      callback(
        error ?? new AddressRefused(`${hostname} is at an address that is not public.`),
        '',
        0,
      )
      return
    }
    if (options.all) callback(null, addresses)
    else callback(null, addresses[0]!.address, addresses[0]!.family)
  })
}
