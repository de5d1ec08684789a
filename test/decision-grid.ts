// The cells of the grid that is published: a truth, a rule, and the decision that would be wrong there.

import { planPolicy } from '../replay/registration.ts'
import type { DecisionPolicy } from '../schemas/experiment.ts'
import { qualityAlone, type Truth } from './decision-world.ts'

export type Cell = {
  name: string
  truth: Truth
  policy: DecisionPolicy
  /** What is counted, and what was promised of it, as a share. */
  measure: 'passed' | 'failed'
  atMost?: number
  atLeast?: number
  unitsMeanMax?: number
  unitsP90Max?: number
}

const plenty = 2_000
const alone = qualityAlone(plenty)
const guarded = planPolicy(plenty)
/** What the guardrails see of two calls to one prompt: log spread 0.3, one hard failure in 200. */
const calls = { latencySpread: 0.3, hardBaseline: 0.005 }

/** A/A, exactly at the margin, and two regressions: for the quality metric alone and with every guardrail's share taken off. */
function promised(title: string, policy: DecisionPolicy, more: Partial<Truth>): Cell[] {
  const cell = (
    name: string,
    delta: number,
    rest: Omit<Cell, 'name' | 'truth' | 'policy'>,
  ): Cell => ({
    name: `${title}, ${name}`,
    truth: { discordance: 0.1, delta, ...more },
    policy,
    ...rest,
  })
  return [
    cell('A/A: failed', 0, { measure: 'failed', atMost: 0.01 }),
    cell('at the margin: passed', -0.05, { measure: 'passed', atMost: 0.01 }),
    cell('5 points worse: failed', -0.05, { measure: 'failed', atLeast: 0.95, unitsMeanMax: 750 }),
    cell('10 points worse: failed', -0.1, { measure: 'failed', atLeast: 0.99, unitsP90Max: 450 }),
  ]
}

const clustered = { turns: 5, icc: 0.6 }
const errorsOnly = (cells: Cell[]) =>
  cells.filter(({ atMost }) => atMost !== undefined).map((cell) => ({ ...cell, atMost: 0.015 }))

/** Turns that repeat each other buy little: the promise in pairs is for one turn a conversation. */
const withoutPairs = (cells: Cell[]): Cell[] =>
  cells.map(({ unitsMeanMax: _mean, unitsP90Max: _p90, ...cell }) => cell)

export const coreCells: readonly Cell[] = [
  ...promised('quality alone', alone, {}),
  ...promised('all guardrails', guarded, calls),
  ...promised('5 correlated turns, one of each', alone, { ...clustered, isOneTurnReplayed: true }),
  ...withoutPairs(promised('5 correlated turns, all of them', alone, clustered)),
  ...errorsOnly(
    promised('judge J 0.7', qualityAlone(plenty, { judgeJ: 0.7 }), { judgeAccuracy: 0.85 }),
  ),
]

const noisy = [0.02, 0.05, 0.2, 0.3].flatMap((discordance) =>
  errorsOnly(promised(`discordance ${Math.round(discordance * 100)} %`, alone, { discordance })),
)

const looks = [1, 10].flatMap((batch) =>
  errorsOnly(promised(`a look every ${batch}`, qualityAlone(plenty, { batch }), {})),
)

const frames = [
  { units: 100, delta: -0.15 },
  { units: 400, delta: -0.1 },
].flatMap(({ units, delta }): Cell[] => {
  const policy = qualityAlone(units)
  const points = Math.round(policy.margin * 100)
  const at = (name: string, of: number, measure: Cell['measure']): Cell => ({
    name: `${units} inputs, margin ${points}, ${name}`,
    truth: { discordance: 0.1, delta: of },
    policy,
    measure,
  })
  return [
    { ...at('A/A: failed', 0, 'failed'), atMost: 0.01 },
    { ...at('at the margin: passed', delta, 'passed'), atMost: 0.01 },
    at('A/A: passed', 0, 'passed'),
    at('at the margin: failed', delta, 'failed'),
  ]
})

const guard = (
  name: string,
  more: Partial<Truth>,
  rest: Pick<Cell, 'measure'> & Partial<Cell>,
): Cell => ({
  name: `all guardrails, ${name}`,
  truth: { discordance: 0.1, delta: 0, ...calls, ...more },
  policy: guarded,
  ...rest,
})

/** A guardrail exactly at its margin promotes no more often than the quality does at its own. */
const guardrails: Cell[] = [
  guard('A/A: passed', {}, { measure: 'passed' }),
  guard('latency +10 %: passed', { latencyRatio: 1.1 }, { measure: 'passed', atMost: 0.01 }),
  guard('latency +20 %: failed', { latencyRatio: 1.2 }, { measure: 'failed' }),
  guard('cost +10 %: passed', { costRatio: 1.1 }, { measure: 'passed', atMost: 0.01 }),
  guard('cost +20 %: failed', { costRatio: 1.2 }, { measure: 'failed' }),
  guard(
    'hard failures +2 points: passed',
    { hardAdded: 0.02 },
    { measure: 'passed', atMost: 0.01 },
  ),
  guard('hard failures +5 points: failed', { hardAdded: 0.05 }, { measure: 'failed' }),
]

// Ten parts of a tenth each; where one of them loses four answers of ten, the whole loses four points, inside its margin.
const tenths = (lost: number) =>
  Array.from({ length: 10 }, (_, i) => ({ name: `s${i}`, share: 0.1, delta: i === 3 ? -lost : 0 }))
const inTenths = qualityAlone(plenty, { slices: tenths(0).map(({ name }) => name) })
const sliced: Cell[] = [
  {
    name: 'ten slices, A/A: failed',
    truth: { discordance: 0.1, delta: 0, slices: tenths(0) },
    ...{ policy: inTenths, measure: 'failed', atMost: 0.01 },
  },
  {
    name: 'ten slices, one of them 40 points worse: failed',
    truth: { discordance: 0.1, delta: 0, slices: tenths(0.4) },
    ...{ policy: inTenths, measure: 'failed' },
  },
  {
    name: 'the same, not told apart: failed',
    truth: { discordance: 0.1, delta: 0, slices: tenths(0.4) },
    ...{ policy: alone, measure: 'failed' },
  },
]

export const allCells: readonly Cell[] = [
  ...coreCells,
  ...noisy,
  ...looks,
  ...frames,
  ...guardrails,
  ...sliced,
]
