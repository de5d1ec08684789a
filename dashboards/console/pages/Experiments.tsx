// Every experiment, the newest first: which version was held against which, and how it ended.

import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTitle } from '../Console.tsx'
import { experimentsQuery } from '../client.ts'
import { cost, count, counted } from '../format.ts'
import { push } from '../history.ts'
import { Empty, Failure, Link, Loading, Snippet, Status, Text, Time } from '../ui/atoms.tsx'
import { Cell, HeadCell, HeadRow } from '../ui/Cells.tsx'
import { List } from '../ui/List.tsx'
import { link } from '../url.ts'
import type { Experiment } from '../wire-experiments.ts'

const rowHeight = 36
const headHeight = 32
const columns = [
  'Candidate',
  'Against',
  'Status',
  'Promotion',
  'Samples',
  'Held',
  'Cost',
  'Started',
]
const numbers = new Set(['Samples', 'Held', 'Cost'])

export function Experiments() {
  useTitle('Experiments')
  const found = useQuery(experimentsQuery)
  return (
    <section className="page">
      <header className="page-head">
        <h1>Experiments</h1>
        <p className="page-count">{found.data && counted(found.data.length, 'experiment')}</p>
      </header>
      {found.isPending && <Loading what="experiments" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="experiments" retry={() => void found.refetch()} />
      )}
      {found.data?.length === 0 && <NoExperiments />}
      {found.data && found.data.length > 0 && <ExperimentList items={found.data} />}
    </section>
  )
}

function ExperimentList({ items }: { items: Experiment[] }) {
  const [active, setActive] = useState(-1)
  return (
    <List
      className="experiments"
      label="Experiments"
      role="grid"
      count={items.length}
      rowHeight={rowHeight}
      headHeight={headHeight}
      head={
        <HeadRow>
          {columns.map((title) => (
            <HeadCell key={title} isNumber={numbers.has(title)}>
              {title}
            </HeadCell>
          ))}
        </HeadRow>
      }
      rowKey={(at) => items[at]!.experimentId}
      active={active}
      onActive={setActive}
      onOpen={(at) => push(link.experiment(items[at]!.regressionId))}
      row={(at) => <Row item={items[at]!} />}
      place="experiments"
    />
  )
}

function Row({ item }: { item: Experiment }) {
  return (
    <>
      <Cell>
        <Link className="row-link mono" tabIndex={-1} href={link.experiment(item.regressionId)}>
          <Text>{item.candidateId}</Text>
        </Link>
      </Cell>
      <Cell>
        <span className="mono">{item.baselineId}</span>
      </Cell>
      <Cell>
        <Status status={item.status} />
      </Cell>
      <Cell>{item.promotionStatus.replaceAll('_', ' ')}</Cell>
      <Cell isNumber>{count(item.sampleCount)}</Cell>
      <Cell isNumber>{count(item.passCount)}</Cell>
      <Cell isNumber>{cost(item.costUsd)}</Cell>
      <Cell>
        <Time iso={item.createdAt} />
      </Cell>
    </>
  )
}

function NoExperiments() {
  return (
    <Empty icon="experiments" title="No experiments yet">
      <p>
        A new version of a prompt is replayed against the one before as soon as there is traffic of
        both. One can be started by hand; with <code>dry_run</code> it only says what it would cost.
      </p>
      <Snippet
        label="An experiment by hand"
        code={`curl ${location.origin}/v1/prompt-regressions \\
  -H "Authorization: Bearer $RUNLEDGER_KEY" -H "Content-Type: application/json" \\
  -d '{"registry_id":"support","candidate":"v2","dry_run":true}'`}
      />
    </Empty>
  )
}
