// One trace as a line, and the names of its columns.

import { memo } from 'react'
import { absent, cost, count, duration } from '../format.ts'
import { Copy, Link, Status, Text, Time } from '../ui/atoms.tsx'
import { link } from '../url.ts'
import type { TraceItem } from '../wire.ts'

const columns: { id: string; title: string; unit?: string }[] = [
  { id: 'time', title: 'Started', unit: 'local time' },
  { id: 'name', title: 'Name' },
  { id: 'service', title: 'Service' },
  { id: 'model', title: 'Model' },
  { id: 'version', title: 'Prompt version' },
  { id: 'status', title: 'Status' },
  { id: 'latency', title: 'Latency' },
  { id: 'ttft', title: 'TTFT', unit: 'time to first token' },
  { id: 'tokens', title: 'Tokens in → out' },
  { id: 'cost', title: 'Cost', unit: 'US dollars' },
  { id: 'spans', title: 'Spans' },
]

export function TraceHead() {
  return (
    <div className="list-head" role="row">
      {columns.map((column) => (
        // biome-ignore lint/a11y/useFocusableInteractive: column heads here name, they do not sort
        <div
          key={column.id}
          role="columnheader"
          className={`cell c-${column.id}`}
          title={column.unit}
        >
          {column.title}
        </div>
      ))}
    </div>
  )
}

export const TraceRow = memo(function TraceRow({ item }: { item: TraceItem }) {
  return (
    <>
      <Cell id="time">
        <Time iso={item.startedAt} />
      </Cell>
      <Cell id="name">
        <Link className="row-link" href={link.trace(item.traceId)} tabIndex={-1} title={item.name}>
          <Text>{item.name || '(no name)'}</Text>
        </Link>
        <span className="row-id" title={item.traceId}>
          <code>{item.traceId.slice(0, 8)}</code>
          <Copy text={item.traceId} what="trace id" />
        </span>
      </Cell>
      <Cell id="service">
        <Text>{item.service || absent}</Text>
      </Cell>
      <Cell id="model">
        <Text>{item.model ?? absent}</Text>
      </Cell>
      <Cell id="version">
        {item.promptVersionId === '' || item.promptVersionId === 'default' ? (
          <span className="quiet">{item.promptVersionId || absent}</span>
        ) : (
          <Text>{item.promptVersionId}</Text>
        )}
      </Cell>
      <Cell id="status">
        <Status status={item.status} />
      </Cell>
      <Cell id="latency">{duration(item.latencyMs)}</Cell>
      <Cell id="ttft">{duration(item.ttftMs)}</Cell>
      <Cell id="tokens">
        {item.inputTokens === null && item.outputTokens === null ? (
          absent
        ) : (
          <>
            {count(item.inputTokens)} <span className="quiet">→</span> {count(item.outputTokens)}
          </>
        )}
      </Cell>
      <Cell id="cost">{cost(item.costUsd)}</Cell>
      <Cell id="spans">
        {count(item.spanCount)}
        {item.errorCount > 0 && (
          <span className="spans-failed" title={`${count(item.errorCount)} with an error`}>
            {count(item.errorCount)}
          </span>
        )}
      </Cell>
    </>
  )
})

function Cell({ id, children }: { id: string; children: React.ReactNode }) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: focus stays on the list
    <div role="gridcell" className={`cell c-${id}`}>
      {children}
    </div>
  )
}
