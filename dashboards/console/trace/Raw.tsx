// The rest of a span as it was reported: events, links, resource, scope, and the identifiers underneath.

import { absent, duration } from '../format.ts'
import { pretty } from '../text.ts'
import { Copy, Id, Text } from '../ui/atoms.tsx'
import { LongText } from '../ui/LongText.tsx'
import { useSteps } from '../ui/useSteps.tsx'
import type { Span, SpanEvent } from '../wire.ts'
import { Pairs } from './Attributes.tsx'

const eventsStep = 50

export function Raw({ span, originUnixNano }: { span: Span; originUnixNano: bigint }) {
  return (
    <>
      <dl className="plain-facts">
        <dt>Span</dt>
        <dd>
          <Id id={span.spanId} what="span id" />
        </dd>
        <dt>Parent</dt>
        <dd>{span.parentSpanId ? <Id id={span.parentSpanId} what="parent span id" /> : absent}</dd>
        <dt>Start</dt>
        <dd>
          <code>{span.startUnixNano}</code> <span className="quiet">ns since 1970</span>
        </dd>
        <dt>Kind, type</dt>
        <dd>
          <Text>{`${span.kind || absent}, ${span.type || absent}`}</Text>
        </dd>
        <dt>Trace state</dt>
        <dd>
          <Text>{span.traceState || absent}</Text>
        </dd>
        <dt>Flags</dt>
        <dd>
          {span.flags === null ? absent : <code>0x{span.flags.toString(16).padStart(2, '0')}</code>}
        </dd>
      </dl>
      <Events events={span.events} originUnixNano={originUnixNano} />
      <Block
        title="Links"
        text={span.links.length > 0 ? pretty(span.links) : ''}
        none="This span links to no other."
      />
      <section className="block">
        <h3>Resource</h3>
        <Pairs pairs={span.resourceAttributes} />
        {span.resourceAttributes.length === 0 && (
          <p className="quiet">Nothing was said about its origin.</p>
        )}
      </section>
      <Block
        title="Scope"
        text={span.scope === null ? '' : pretty(span.scope)}
        none="No instrumentation scope was named."
      />
    </>
  )
}

function Events({ events, originUnixNano }: { events: SpanEvent[]; originUnixNano: bigint }) {
  const steps = useSteps(events.length, eventsStep)
  return (
    <section className="block">
      <h3>Events</h3>
      {events.length === 0 && <p className="quiet">This span reported no events.</p>}
      {events.slice(0, steps.shown).map((event, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the events of one span never move
        <details key={at} className="fold-block">
          <summary>
            <Text>{event.name || '(no name)'}</Text>{' '}
            <span className="quiet">{offset(event.timeUnixNano, originUnixNano)}</span>
          </summary>
          <Pairs pairs={event.attributes} />
        </details>
      ))}
      {steps.more}
    </section>
  )
}

function Block({ title, text, none }: { title: string; text: string; none: string }) {
  return (
    <section className="block">
      <h3>
        {title} {text !== '' && <Copy text={text} what={title.toLowerCase()} />}
      </h3>
      {text === '' ? <p className="quiet">{none}</p> : <LongText text={text} mono />}
    </section>
  )
}

/** Time since the start of the trace; an event whose clock is elsewhere shows its distance all the same. */
function offset(timeUnixNano: string, originUnixNano: bigint): string {
  if (!/^\d{1,20}$/.test(timeUnixNano)) return absent
  const ms = Number((BigInt(timeUnixNano) - originUnixNano) / 1000n) / 1000
  return ms < 0 ? `−${duration(-ms)}` : `+${duration(ms)}`
}
