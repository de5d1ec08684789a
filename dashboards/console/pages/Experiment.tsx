// One experiment: the decision in a sentence, what it rests on, what it cost, and the pairs themselves. Live while it runs.

import { useQuery } from '@tanstack/react-query'
import { useTitle } from '../Console.tsx'
import { ApiError, experimentQuery } from '../client.ts'
import { Intervals } from '../experiments/Intervals.tsx'
import { Samples } from '../experiments/Samples.tsx'
import { absent, cost, count, duration } from '../format.ts'
import { Empty, Failure, Id, Link, Loading, Status, Text, Time } from '../ui/atoms.tsx'
import { link } from '../url.ts'
import type { ExperimentDetail } from '../wire-experiments.ts'

export function Experiment({ id }: { id: string }) {
  const found = useQuery(experimentQuery(id))
  useTitle(found.data?.candidateId ?? 'Experiment')
  if (found.data) return <Found experiment={found.data} />
  if (found.isPending) return <Loading what="this experiment" />
  if (found.error instanceof ApiError && found.error.status === 404) {
    return (
      <Empty icon="experiments" title="There is no such experiment">
        <p>
          Go to the <Link href={link.experiments()}>list of experiments</Link>.
        </p>
      </Empty>
    )
  }
  return <Failure error={found.error} what="this experiment" retry={() => void found.refetch()} />
}

function Found({ experiment }: { experiment: ExperimentDetail }) {
  const readings = [...(experiment.quality ? [experiment.quality] : []), ...experiment.guardrails]
  return (
    <section className="page experiment">
      <header className="page-head">
        <h1>{experiment.candidateId}</h1>
        <p className="page-count">
          against{' '}
          <Link className="mono" href={link.prompt(experiment.registryId)}>
            {experiment.baselineId}
          </Link>
        </p>
        <Link className="prompt-back" href={link.experiments()}>
          All experiments
        </Link>
      </header>
      <div className="prompt-body">
        <div className="experiment-now">
          <p>
            <Status status={experiment.status} />{' '}
            <span className="quiet">{experiment.promotionStatus.replaceAll('_', ' ')}</span>
          </p>
          <p className="experiment-sentence">
            <Text>{experiment.summary}</Text>
          </p>
          {experiment.frameNote && <p className="prompt-warning">{experiment.frameNote}</p>}
        </div>
        <Figures experiment={experiment} />
        {readings.length > 0 && (
          <section aria-labelledby="measured">
            <h2 id="measured">The candidate beside the baseline</h2>
            <Intervals readings={readings} />
            <p className="quiet">
              The bar is what the evidence allows; it holds when all of it lies to the right of the
              dashed line, and is worse when all of it lies to the left of it or of zero. Points
              (pt) are candidate minus baseline, of a hundred conversations. Latency and cost may
              rise by 10 %, latency by 20 ms where that is more: how far the candidate stayed from
              this limit is said.
            </p>
          </section>
        )}
        <Samples experiment={experiment} />
        <Events experiment={experiment} />
      </div>
    </section>
  )
}

function Figures({ experiment }: { experiment: ExperimentDetail }) {
  const { sampleCount, planned, passCount, errorCount } = experiment
  const rows: [string, string][] = [
    ['Samples', planned === null ? absent : `${count(sampleCount)} of at most ${count(planned)}`],
    ['Held', `${count(passCount)} (${count(experiment.failCount)} did not)`],
    ['Baseline agrees with itself', percent(experiment.selfAgreement)],
    ['Candidate agrees with it', percent(experiment.candidateAgreement)],
    ['Latency, baseline', duration(experiment.baselineLatencyMs)],
    ['Latency, candidate', duration(experiment.candidateLatencyMs)],
    [
      'Calls',
      `${count(experiment.callCount)}${errorCount > 0 ? `, ${count(errorCount)} pairs lost` : ''}`,
    ],
    ['Spent', `${cost(experiment.costUsd)} of ${cost(experiment.budgetUsd)}`],
    ['Evidence', experiment.evidence ?? 'none yet'],
    ['Judge', experiment.judge],
  ]
  return (
    <dl className="experiment-figures">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      <div>
        <dt>Experiment</dt>
        <dd>
          <Id id={experiment.experimentId} what="experiment" short />
        </dd>
      </div>
    </dl>
  )
}

function Events({ experiment }: { experiment: ExperimentDetail }) {
  return (
    <section aria-labelledby="events">
      <h2 id="events">How it came to be so</h2>
      <ol className="prompt-history">
        {experiment.events.map((event, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: events are only added at the end
          <li key={at}>
            <Time iso={event.at} />
            <div>
              <p>
                <b>{event.status}</b>{' '}
                <span className="quiet">{event.promotionStatus.replaceAll('_', ' ')}</span>
              </p>
              <p className="quiet">
                <Text>{event.reason || 'Queued.'}</Text> · {event.actor.slice(0, 12)}
              </p>
            </div>
          </li>
        ))}
      </ol>
    </section>
  )
}

function percent(share: number | null): string {
  return share === null ? absent : `${Math.round(share * 100)} %`
}
