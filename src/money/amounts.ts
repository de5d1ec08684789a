// Amounts of money between the wire and the books. Inside they are whole nano-USD as bigint; a number is only for showing.

const nanoPerCent = 10_000_000n
// A cent with six decimals: the finest amount the contract shows.
const nanoPerMicroCent = 10n

/** Nano-USD of cents with up to six decimals; what is finer is rounded to the nearest. */
export function centsToNano(cents: number): bigint {
  return BigInt(Math.round(cents * 1e6)) * nanoPerMicroCent
}

/** Cents with up to six decimals, rounded half up. */
export function nanoToCents(nano: bigint): number {
  const sign = nano < 0n ? -1 : 1
  const micro = ((nano < 0n ? -nano : nano) + nanoPerMicroCent / 2n) / nanoPerMicroCent
  return (sign * Number(micro)) / 1e6
}

/** For a sentence: dollars and cents, and as many further digits as a small amount needs. */
export function toDollars(nano: bigint): string {
  const usd = Number(nano) / (Number(nanoPerCent) * 100)
  return `$${usd.toFixed(usd !== 0 && Math.abs(usd) < 0.1 ? 6 : 2)}`
}
