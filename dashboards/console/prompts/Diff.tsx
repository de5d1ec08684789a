// Two versions of a prompt, line by line, part by part. What is the same is named and not shown.

import { useQuery } from '@tanstack/react-query'
import { promptDiffQuery } from '../client.ts'
import { counted } from '../format.ts'
import { Failure, Loading, Text } from '../ui/atoms.tsx'
import type { Compared } from '../url.ts'
import type { DiffLine, DiffPart, Registry } from '../wire-prompts.ts'

const titles: Record<string, string> = {
  text: 'Text',
  tools: 'Tools',
  response_format: 'Response format',
  params: 'Model and parameters',
}
// Lines that stand around a change; the others are folded into one that says how many they are.
const context = 3
const linesMax = 2_000

type Props = {
  registry: Registry
  compared: Compared
  onCompare: (next: Partial<Compared>) => void
}

export function Diff({ registry, compared, onCompare }: Props) {
  const { from, to } = compared
  return (
    <section aria-labelledby="difference">
      <div className="prompt-compare">
        <h2 id="difference">What is different</h2>
        <Pick
          label="From"
          value={from}
          registry={registry}
          onPick={(next) => onCompare({ from: next })}
        />
        <Pick
          label="To"
          value={to}
          registry={registry}
          onPick={(next) => onCompare({ to: next })}
        />
      </div>
      {from === undefined || to === undefined || from === to ? (
        <p className="quiet">There is one version to look at; a second makes a difference.</p>
      ) : (
        <Parts registryId={registry.registryId} from={from} to={to} />
      )}
    </section>
  )
}

type PickProps = {
  label: string
  value: string | undefined
  registry: Registry
  onPick: (versionId: string) => void
}

function Pick({ label, value, registry, onPick }: PickProps) {
  return (
    <label className="filter">
      <span className="filter-title">{label}</span>
      <select value={value ?? ''} onChange={(event) => onPick(event.target.value)}>
        {value === undefined && <option value="">choose</option>}
        {registry.versions.toReversed().map(({ versionId }) => (
          <option key={versionId} value={versionId}>
            {versionId}
          </option>
        ))}
      </select>
    </label>
  )
}

function Parts({ registryId, from, to }: { registryId: string; from: string; to: string }) {
  const found = useQuery(promptDiffQuery(registryId, from, to))
  if (found.isPending) return <Loading what="the difference" />
  if (!found.data) {
    return <Failure error={found.error} what="the difference" retry={() => void found.refetch()} />
  }
  const same = found.data.filter((part) => part.same === true)
  return (
    <>
      {found.data
        .filter((part) => part.same !== true)
        .map((part) => (
          <Part key={part.name} part={part} />
        ))}
      {same.length > 0 && (
        <p className="quiet">The same in both: {same.map(titleOf).join(', ').toLowerCase()}.</p>
      )}
    </>
  )
}

function titleOf({ name }: DiffPart): string {
  return titles[name] ?? name
}

function Part({ part }: { part: DiffPart }) {
  return (
    <figure className="diff">
      <figcaption>{titleOf(part)}</figcaption>
      {part.lines === null || part.lines.length === 0 ? (
        <p className="quiet diff-none">
          {part.same === null
            ? 'Too little of one version is known yet: it has been named, and not seen often enough.'
            : 'The two differ, and the words of it were not kept.'}
        </p>
      ) : (
        <pre>
          {fold(part.lines.slice(0, linesMax)).map((line, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the lines of one difference never move
            <span key={at} className="diff-line" data-kind={line.kind}>
              <span className="sr">{spoken[line.kind]}</span>
              <Text>{line.text === '' ? ' ' : line.text}</Text>
            </span>
          ))}
        </pre>
      )}
    </figure>
  )
}

const spoken: Record<string, string> = { removed: 'removed: ', added: 'added: ' }

function fold(lines: readonly DiffLine[]): DiffLine[] {
  const isNear = (at: number) =>
    lines.slice(Math.max(0, at - context), at + context + 1).some((line) => line.kind !== 'same')
  const shown: DiffLine[] = []
  let hidden = 0
  const close = () => {
    if (hidden > 0) shown.push({ kind: 'folded', text: `${counted(hidden, 'line')} the same` })
    hidden = 0
  }
  lines.forEach((line, at) => {
    if (!isNear(at)) {
      hidden++
      return
    }
    close()
    shown.push(line)
  })
  close()
  return shown
}
