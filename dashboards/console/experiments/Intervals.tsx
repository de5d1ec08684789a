// What was measured, each as its interval against the line it must stay above: the same drawing for quality and guardrails.

import { headroomBase } from '../../../schemas/experiment.ts'
import type { Reading } from '../wire-experiments.ts'

const titles: Record<string, string> = {
  quality: 'Quality',
  hard_failures: 'Hard failures',
  latency: 'Latency',
  latency_tail: 'Slow calls',
  cost: 'Cost',
}

export function Intervals({ readings }: { readings: Reading[] }) {
  return (
    <ul className="intervals" aria-label="What was measured">
      {readings.map((reading) => (
        <Interval key={reading.name} reading={reading} />
      ))}
    </ul>
  )
}

function Interval({ reading }: { reading: Reading }) {
  const { low, high, mean, holdsAbove } = reading
  const span = Math.max(0.1, Math.abs(low ?? 0), Math.abs(high ?? 0), Math.abs(holdsAbove)) * 1.1
  const x = (value: number) => `${(((value + span) / (2 * span)) * 100).toFixed(2)}%`
  const verdict = reading.worse ? 'worse' : reading.holds ? 'holds' : 'open'
  const say = isRoom.has(reading.name) ? room : points
  const said = mean === null ? 'not measured yet' : `${say(mean)}, ${say(low)} to ${say(high)}`
  return (
    <li data-verdict={verdict}>
      <span className="interval-name">{titles[reading.name] ?? reading.name}</span>
      <svg
        className="interval"
        role="img"
        aria-label={`${said}; must stay above ${say(holdsAbove)}`}
      >
        <line className="interval-zero" x1={x(0)} x2={x(0)} y1="0" y2="100%" />
        <line className="interval-margin" x1={x(holdsAbove)} x2={x(holdsAbove)} y1="0" y2="100%" />
        {low !== null && high !== null && (
          <line className="interval-range" x1={x(low)} x2={x(high)} y1="50%" y2="50%" />
        )}
        {mean !== null && <circle cx={x(mean)} cy="50%" r="4" />}
      </svg>
      <span className="interval-said">
        {said} <span className="quiet">({verdict})</span>
      </span>
    </li>
  )
}

// Metrics that are no difference of shares but how far below its limit the candidate stayed.
const isRoom: ReadonlySet<string> = new Set(['latency', 'cost'])

// A figure and its unit stay on one line.
const space = '\u00a0'

function points(value: number | null): string {
  if (value === null) return '–'
  const rounded = Math.round(value * 1000) / 10
  return `${rounded > 0 ? '+' : ''}${rounded}${space}pt`
}

/** Of the limit itself: a candidate at half of it stayed 50 % below. */
function room(value: number | null): string {
  if (value === null) return '–'
  const share = 1 - headroomBase ** -value
  const rounded = Math.round(Math.abs(share) * 1000) / 10
  if (rounded === 0) return 'at its limit'
  return `${rounded}${space}% ${share > 0 ? 'below' : 'above'} its limit`
}
