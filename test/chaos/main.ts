// `npm run chaos -- kills --cycles 200 --spans 5000`, `npm run chaos -- outage --seconds 600 --rate 2000`,
// `npm run chaos -- hung --seconds 70 --rounds 2`: prints its report.

import { parseArgs } from 'node:util'
import { hung } from './hung.ts'
import { killCycles } from './kills.ts'
import { outage } from './outage.ts'

export async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      cycles: { type: 'string', default: '200' },
      spans: { type: 'string', default: '5000' },
      callers: { type: 'string', default: '2' },
      seed: { type: 'string', default: '1' },
      seconds: { type: 'string' },
      rounds: { type: 'string', default: '2' },
      rate: { type: 'string', default: '2000' },
    },
  })
  const [name] = positionals
  const print = (line: string) => console.log(line)
  if (name === 'kills') {
    const [cycles, spansPerCycle] = [Number(values.cycles), Number(values.spans)]
    const [callers, seed] = [Number(values.callers), Number(values.seed)]
    say(await killCycles({ cycles, spansPerCycle, callers, verified: 2_000, seed, print }))
  } else if (name === 'outage') {
    const [outageS, spansPerS] = [Number(values.seconds ?? 600), Number(values.rate)]
    say(await outage({ outageS, spansPerS, print }))
  } else if (name === 'hung') {
    const [seconds, rounds] = [Number(values.seconds ?? 70), Number(values.rounds)]
    say(await hung({ seconds, rounds, spansPerS: Number(values.rate), print }))
  } else throw new Error('Say which: kills, outage or hung.')
}

/** Lists are shown by their length and first members; any that is not empty fails the run. */
function say(report: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(report)) {
    const isWrong = Array.isArray(value) && value.length > 0
    if (isWrong) process.exitCode = 1
    const shown = Array.isArray(value)
      ? `${value.length}${isWrong ? `: ${value.slice(0, 5).join(', ')} …` : ''}`
      : JSON.stringify(value)
    console.log(`${name.padEnd(14)} ${shown}`)
  }
}
