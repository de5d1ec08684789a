// How often the decision rule errs, and how many pairs it needs: the product's rule over populations whose truth is known.

import { allCells, type Cell, coreCells } from '../decision-grid.ts'
import { qualityAlone, type Tally, tally } from '../decision-world.ts'
import { failedShare } from '../mutation-world.ts'
import { mutations } from '../mutations.ts'

export const method =
  'Seeded Monte-Carlo; α 1 %, margin 5 points, A/A discordance 10 %, at most 2,000 conversations, a look after every 25, unless the row says otherwise. `--long`: 20,000 replications a cell and the whole grid; `--core`: the first cells of it; `--replications=N`.'

export type Figure = { name: string; figure: number; unit: string; reference?: string }

const fast = { replications: 1_000, mutationRuns: 40 }
const long = { replications: 20_000, mutationRuns: 500 }
// Of all outputs, those that a critical mutation touches.
const fraction = 0.05

export async function run(options: string[]): Promise<Figure[]> {
  const isLong = options.includes('--long')
  const given = options.find((option) => option.startsWith('--replications='))?.split('=')[1]
  const { replications, mutationRuns } = {
    ...(isLong ? long : fast),
    ...(given === undefined ? {} : { replications: Number(given) }),
  }
  const cells =
    (isLong || given !== undefined) && !options.includes('--core') ? allCells : coreCells
  const figures = cells.map((cell, i) =>
    toFigure(cell, tally(cell.truth, cell.policy, { replications, seed: 1_000 + i })),
  )
  return [...figures, ...ofMutations(true, mutationRuns), ...ofMutations(false, mutationRuns)]
}

function toFigure(cell: Cell, result: Tally): Figure {
  const turns = cell.truth.isOneTurnReplayed ? 1 : (cell.truth.turns ?? 1)
  const pairs = (units: number) => Math.round(units * turns).toLocaleString('en')
  const promises = [
    cell.atMost !== undefined && `≤ ${percent(cell.atMost)} %`,
    cell.atLeast !== undefined && `≥ ${percent(cell.atLeast)} %`,
    cell.unitsMeanMax !== undefined && `mean ≤ ${cell.unitsMeanMax}`,
    cell.unitsP90Max !== undefined && `p90 ≤ ${cell.unitsP90Max}`,
  ].filter((promise) => promise !== false)
  return {
    name: cell.name,
    figure: percent(result[cell.measure]),
    unit: '%',
    reference: [
      `pass ${percent(result.passed)} fail ${percent(result.failed)} open ${percent(result.inconclusive)}`,
      `pairs: mean ${pairs(result.meanUnits)}, p90 ${pairs(result.p90Units)}`,
      `${result.replications.toLocaleString('en')} replications`,
      ...(promises.length > 0 ? [`promised ${promises.join(', ')}`] : []),
    ].join(' · '),
  }
}

/** The worst of its kind by name, because an average would hide the one that is never found. */
function ofMutations(isCritical: boolean, runs: number): Figure[] {
  const policy = qualityAlone(2_000)
  const results = mutations
    .filter((mutation) => mutation.isCritical === isCritical)
    .map((mutation, i) => ({
      name: mutation.name,
      failed: failedShare(mutation, isCritical ? fraction : 1, { policy, runs, seed: 50 + i }),
    }))
    .map(({ name, failed }) => ({ name, share: isCritical ? failed : 1 - failed }))
    .sort((a, b) => a.share - b.share)
  const mean = results.reduce((sum, { share }) => sum + share, 0) / results.length
  const reference = `lowest: ${results[0]?.name} ${percent(results[0]?.share ?? 0)} % · ${runs} runs each`
  return [
    {
      name: isCritical
        ? `${results.length} critical mutations of 5 % of the outputs: found`
        : `${results.length} harmless mutations of every output: not failed`,
      figure: percent(mean),
      unit: '%',
      reference: `${reference} · promised ≥ ${isCritical ? 95 : 98} %`,
    },
  ]
}

function percent(share: number): number {
  return Math.round(share * 10_000) / 100
}
