// Pairs side by side, the risky ones first: what was asked, what each prompt's model said, and what the judges found.

import { Badge, Link, Text } from '../ui/atoms.tsx'
import { link } from '../url.ts'
import type { ExperimentDetail, Output, Sample } from '../wire-experiments.ts'

export function Samples({ experiment }: { experiment: ExperimentDetail }) {
  const { samples, withheld } = experiment
  return (
    <section aria-labelledby="samples">
      <h2 id="samples">Samples side by side</h2>
      {samples.length === 0 && <p className="quiet">None is drawn yet.</p>}
      {withheld > 0 && (
        <p className="quiet">
          {withheld} are kept back until the decision, so that nobody tunes the prompt against them.
        </p>
      )}
      <ol className="samples">
        {samples.map((sample) => (
          <Pair key={sample.index} sample={sample} experiment={experiment} />
        ))}
      </ol>
    </section>
  )
}

const words: Record<string, string> = { '-1': 'worse', '0': 'same', '1': 'better' }

function Pair({ sample, experiment }: { sample: Sample; experiment: ExperimentDetail }) {
  const found = sample.findings.filter(({ arm }) => arm === 'candidate')
  const verdict = sample.direction === null ? sample.status : words[String(sample.direction)]
  return (
    <li data-verdict={verdict}>
      <p className="sample-head">
        <b>{verdict}</b>
        {sample.similarity !== null && (
          <span className="quiet">{Math.round(sample.similarity * 100)} % alike</span>
        )}
        {sample.standsFor > 1 && <span className="quiet">stands for {sample.standsFor} calls</span>}
        {sample.label && <Badge title="what a person said">{sample.label}</Badge>}
        <Link href={link.trace(sample.traceId)}>recorded call</Link>
      </p>
      <p className="sample-input">
        <Text>{sample.lastInput}</Text>
      </p>
      <div className="sample-pair">
        <Side title={experiment.baselineId} output={sample.baseline} />
        <Side title={experiment.candidateId} output={sample.candidate} />
      </div>
      {found.length > 0 && (
        <ul className="sample-findings">
          {found.map(({ judge, detail }) => (
            <li key={`${judge} ${detail}`}>
              <Text>{detail}</Text> <code className="quiet">{judge}</code>
            </li>
          ))}
        </ul>
      )}
    </li>
  )
}

function Side({ title, output }: { title: string; output: Output }) {
  return (
    <figure>
      <figcaption className="mono">{title}</figcaption>
      <pre>
        {output === null ? (
          <span className="quiet">not answered yet</span>
        ) : (
          <>
            <Text>{output.text}</Text>
            {output.toolCalls.map((call, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the calls of one answer never move
              <span key={at} className="sample-call">
                {call.name}({call.arguments})
              </span>
            ))}
          </>
        )}
      </pre>
    </figure>
  )
}
