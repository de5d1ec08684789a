// `npm run chaos -- kills --cycles 200 --spans 5000`, `-- calls --rounds 20 --rate 500`, `-- outage --seconds 600 --rate 2000`,
// `-- hung --seconds 70 --rounds 2`, `-- disk --seconds 20` (as root): prints its report.

import { parseArgs } from 'node:util'
import { killUnderCalls } from './calls.ts'
import { type DiskReport, diskTrouble } from './disk.ts'
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
      rounds: { type: 'string' },
      rate: { type: 'string' },
      calls: { type: 'string', default: '1500' },
      verified: { type: 'string', default: '2000' },
    },
  })
  const [name] = positionals
  const print = (line: string) => console.log(line)
  if (name === 'kills') {
    const [cycles, spansPerCycle] = [Number(values.cycles), Number(values.spans)]
    const [callers, seed] = [Number(values.callers), Number(values.seed)]
    say(await killCycles({ cycles, spansPerCycle, callers, verified: 2_000, seed, print }))
  } else if (name === 'calls') {
    const [rounds, perSecond] = [Number(values.rounds ?? 20), Number(values.rate ?? 500)]
    const [callsPerRound, verified] = [Number(values.calls), Number(values.verified)]
    const seed = Number(values.seed)
    say(await killUnderCalls({ rounds, perSecond, callsPerRound, verified, seed, print }))
  } else if (name === 'outage') {
    const [outageS, spansPerS] = [Number(values.seconds ?? 600), Number(values.rate ?? 2_000)]
    say(await outage({ outageS, spansPerS, print }))
  } else if (name === 'hung') {
    const [seconds, rounds] = [Number(values.seconds ?? 70), Number(values.rounds ?? 2)]
    say(await hung({ seconds, rounds, spansPerS: Number(values.rate ?? 2_000), print }))
  } else if (name === 'disk') {
    say(wantedAsText(await diskTrouble({ seconds: Number(values.seconds ?? 20), print })))
  } else throw new Error('Say which: kills, calls, outage, hung or disk.')
}

/** What is a list in a good report too is a text to `say`. */
function wantedAsText({ onlyCalls, nothing, backMs, ...report }: DiskReport): object {
  return {
    ...report,
    ...{ onlyCalls: onlyCalls.join(), nothing: nothing.join(), backMs: backMs.join() },
  }
}

/** Lists are shown by their length and first members; any that is not empty fails the run. */
function say(report: object): void {
  for (const [name, value] of Object.entries(report)) {
    const isWrong = Array.isArray(value) && value.length > 0
    if (isWrong) process.exitCode = 1
    const shown = Array.isArray(value)
      ? `${value.length}${isWrong ? `: ${value.slice(0, 5).join(', ')} …` : ''}`
      : JSON.stringify(value)
    console.log(`${name.padEnd(18)} ${shown}`)
  }
}
