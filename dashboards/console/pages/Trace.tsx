// One trace: what it was, its waterfall, and beside it the span one looks at. Span, tab, search and zoom are in the URL.

import { useQuery } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'
import { useTitle } from '../Console.tsx'
import { ApiError, traceQuery } from '../client.ts'
import { absent, cost, count, counted, duration } from '../format.ts'
import { push, replace } from '../history.ts'
import { SpanPanel } from '../trace/SpanPanel.tsx'
import { toTree } from '../trace/tree.ts'
import { Waterfall } from '../trace/Waterfall.tsx'
import { Empty, Failure, Id, Link, Loading, Status, Text, Time } from '../ui/atoms.tsx'
import { Icon } from '../ui/icons.tsx'
import { link, parseView, type TraceView } from '../url.ts'
import type { Trace as TraceData } from '../wire.ts'

export function Trace({ traceId, search }: { traceId: string; search: string }) {
  const found = useQuery(traceQuery(traceId))
  useTitle(found.data ? found.data.name || traceId : 'Trace')
  if (found.isPending) return <Loading what="the trace" />
  if (found.isError && !found.data) {
    const gone =
      found.error instanceof ApiError && (found.error.status === 404 || found.error.status === 400)
    if (gone) return <Gone traceId={traceId} />
    return <Failure error={found.error} what="the trace" retry={() => void found.refetch()} />
  }
  return <Shown trace={found.data} search={search} />
}

function Shown({ trace, search }: { trace: TraceData; search: string }) {
  const view = useMemo(() => parseView(search), [search])
  const tree = useMemo(() => toTree(trace.spans), [trace.spans])
  const go = useCallback(
    (change: Partial<TraceView>, how: typeof push) =>
      how(link.trace(trace.traceId, { ...parseView(location.search), ...change })),
    [trace.traceId],
  )
  const close = useCallback(() => go({ span: undefined, tab: undefined }, replace), [go])
  return (
    <section className="page trace-page">
      <TraceHeader trace={trace} />
      {trace.spans.length === 0 ? (
        <Empty icon="traces" title="This trace has no spans">
          <p>They may have been deleted, or are still on their way. Reload in a moment.</p>
        </Empty>
      ) : (
        <div className="split">
          <Waterfall
            tree={tree}
            traceId={trace.traceId}
            view={view}
            onSpan={(span) => go({ span }, view.span === undefined ? push : replace)}
            onZoom={(zoom) => go({ zoom }, replace)}
            onSearch={(q) => go({ q }, replace)}
            onClose={close}
          />
          {view.span !== undefined && (
            <SpanPanel
              trace={trace}
              spanId={view.span}
              originUnixNano={tree.originUnixNano}
              tab={view.tab ?? 'messages'}
              onTab={(tab) => go({ tab }, replace)}
              onClose={close}
            />
          )}
        </div>
      )}
    </section>
  )
}

function TraceHeader({ trace }: { trace: TraceData }) {
  const version = trace.promptVersionId
  return (
    <header className="trace-head">
      <div className="trace-title">
        <Link
          className="back"
          href={link.traces()}
          aria-label="Back to the list of traces"
          title="All traces"
        >
          <Icon name="left" />
        </Link>
        <h1>
          <Text>{trace.name || '(no name)'}</Text>
        </h1>
        <Status status={trace.status} />
        <Id id={trace.traceId} what="trace id" />
      </div>
      <dl className="facts">
        <Fact name="Started">
          <Time iso={trace.startedAt} />
        </Fact>
        <Fact name="Duration">{duration(trace.latencyMs)}</Fact>
        <Fact name="TTFT">{duration(trace.ttftMs)}</Fact>
        <Fact name="Tokens in → out">
          {trace.inputTokens === null && trace.outputTokens === null
            ? absent
            : `${count(trace.inputTokens)} → ${count(trace.outputTokens)}`}
        </Fact>
        <Fact name="Cost">{cost(trace.costUsd)}</Fact>
        <Fact name="Spans">
          {counted(trace.spanCount, 'span')}, {counted(trace.runCount, 'run')}
        </Fact>
        <Fact name="Service">
          <Text>{trace.service || absent}</Text>
        </Fact>
        {trace.model && (
          <Fact name="Model">
            <Text>{trace.model}</Text>
          </Fact>
        )}
        {version !== '' && version !== 'default' && (
          <Fact name="Prompt version">
            <Link href={link.traces({ by: { prompt_version_id: version } })}>
              <Text>{version}</Text>
            </Link>
          </Fact>
        )}
        {trace.environment && (
          <Fact name="Environment">
            <Text>{trace.environment}</Text>
          </Fact>
        )}
        {trace.sessionId && (
          <Fact name="Session">
            <Link href={link.traces({ by: { session_id: trace.sessionId } })}>
              <Text>{trace.sessionId}</Text>
            </Link>
          </Fact>
        )}
      </dl>
    </header>
  )
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div className="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

function Gone({ traceId }: { traceId: string }) {
  return (
    <Empty icon="search" title="There is no such trace">
      <p>
        <Id id={traceId} what="trace id" /> is unknown in this workspace: never received, past its
        retention, or deleted.
      </p>
      <div className="state-actions">
        <Link className="button" href={link.traces()}>
          All traces
        </Link>
      </div>
    </Empty>
  )
}
