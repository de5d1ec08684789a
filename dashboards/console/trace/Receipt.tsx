// The signed record of a call: which one, which prompt version it binds, and the checks of its evidence, made in this page.

import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { evidenceQuery } from '../client.ts'
import { Empty, Failure, Id, Link, Loading, Text } from '../ui/atoms.tsx'
import { link } from '../url.ts'
import { Checks } from '../verify/Checks.tsx'
import type { Span } from '../wire.ts'

export function Receipt({ span }: { span: Span }) {
  const { recordId, promptVersionId } = span
  if (recordId === null) {
    return (
      <Empty icon="verify" title="No receipt for this span">
        <p>
          Calls that pass the proxy, and runs posted to <code>/v1/runs</code>, are signed. Spans
          that other tools report are not.
        </p>
      </Empty>
    )
  }
  return (
    <>
      <dl className="plain-facts">
        <dt>Record</dt>
        <dd>
          <Id id={recordId} what="record id" />
        </dd>
        {span.runId && (
          <>
            <dt>Run</dt>
            <dd>
              <Id id={span.runId} what="run id" />
            </dd>
          </>
        )}
        <dt>Prompt version</dt>
        <dd>
          {promptVersionId && promptVersionId !== 'default' ? (
            <Link href={link.traces({ by: { prompt_version_id: promptVersionId } })}>
              <Text>{promptVersionId}</Text>
            </Link>
          ) : (
            'default'
          )}
        </dd>
        <dt>Evidence</dt>
        <dd>
          <a href={link.evidence(recordId)} download={`${recordId}.json`}>
            Download the pack
          </a>
        </dd>
      </dl>
      <Here recordId={recordId} key={recordId} />
    </>
  )
}

function Here({ recordId }: { recordId: string }) {
  const [asked, setAsked] = useState(false)
  const pack = useQuery({ ...evidenceQuery(recordId), enabled: asked })
  return (
    <section className="block">
      <div className="state-actions">
        <button
          type="button"
          className="button button-main"
          onClick={() => (asked ? void pack.refetch() : setAsked(true))}
        >
          Verify here
        </button>
        <a className="button" href={link.verify(recordId)}>
          Open in the verify page
        </a>
      </div>
      {asked && pack.isPending && <Loading what="the evidence" />}
      {pack.isError && <Failure error={pack.error} what="the evidence" />}
      {pack.data !== undefined && !pack.isError && <Checks text={pack.data} />}
    </section>
  )
}
