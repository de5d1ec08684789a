// What signing costs a call: an opening and a final record, canonical bytes, commitments and signatures included.

import { sign } from 'node:crypto'
import { toJcsBytes } from '../../schemas/jcs.ts'
import { verifyEvidence } from '../../schemas/verify.ts'
import { facts, packOf, privateKey, rootMultikey, signer } from '../signed.ts'

export const method =
  'The quickest of 60 rounds of 100, after a warm-up, one thread; the ratio is to the bare signature of the same bytes in the same run.'

export type Figure = { name: string; figure: number; unit: string; reference?: string }

const rounds = 60
const callsARound = 100

export async function run(): Promise<Figure[]> {
  const call = facts()
  const begun = signer.begin(call)
  const { pack, final } = await packOf()
  const bytes = Buffer.from(final.canonical)
  const bare = measure('bare Ed25519 signature of the same bytes', () =>
    sign(null, bytes, privateKey),
  )
  const figures: Figure[] = [
    measure('JCS of the payload', () => toJcsBytes(pack.payload)),
    measure('opening record, signed', () => signer.begin(call)),
    measure('final record after an opening one, signed', () => signer.final(call, begun)),
    measure('final record alone, two commitments, signed', () => signer.final(call)),
  ]
  for (const row of figures) row.reference = `${(row.figure / bare.figure).toFixed(2)} ×`
  const startedAt = performance.now()
  const packs = 50
  for (let i = 0; i < packs; i++) await verifyEvidence(pack, { roots: [rootMultikey] })
  figures.push({
    name: 'evidence pack verified, all checks, both engines',
    figure: round((performance.now() - startedAt) / packs),
    unit: 'ms',
  })
  return [bare, ...figures]
}

function measure(name: string, work: () => unknown): Figure {
  for (let i = 0; i < 2_000; i++) work()
  let best = Number.POSITIVE_INFINITY
  for (let repeat = 0; repeat < rounds; repeat++) {
    const startedAt = performance.now()
    for (let i = 0; i < callsARound; i++) work()
    best = Math.min(best, (performance.now() - startedAt) / callsARound)
  }
  return { name, figure: round(best * 1000), unit: 'µs' }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
