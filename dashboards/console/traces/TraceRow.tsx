// One trace as a line, and the names of its columns.

import { memo } from 'react'
import { absent, cost, count, duration } from '../format.ts'
import { Copy, Link, Status, Text, Time } from '../ui/atoms.tsx'
import { Cell, HeadCell, HeadRow } from '../ui/Cells.tsx'
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
    <HeadRow>
      {columns.map((column) => (
        <HeadCell
          key={column.id}
          className={`c-${column.id}`}
          {...(column.unit ? { title: column.unit } : {})}
        >
          {column.title}
        </HeadCell>
      ))}
    </HeadRow>
  )
}

export const TraceRow = memo(function TraceRow({ item }: { item: TraceItem }) {
  return (
    <>
      <Cell className="c-time">
        <Time iso={item.startedAt} />
      </Cell>
      <Cell className="c-name">
        <Link className="row-link" href={link.trace(item.traceId)} tabIndex={-1} title={item.name}>
          <Text>{item.name || '(no name)'}</Text>
        </Link>
        <span className="row-id" title={item.traceId}>
          <code>{item.traceId.slice(0, 8)}</code>
          <Copy text={item.traceId} what="trace id" />
        </span>
      </Cell>
      <Cell className="c-service">
        <Text>{item.service || absent}</Text>
      </Cell>
      <Cell className="c-model">
        <Text>{item.model ?? absent}</Text>
      </Cell>
      <Cell className="c-version">
        {item.promptVersionId === '' || item.promptVersionId === 'default' ? (
          <span className="quiet">{item.promptVersionId || absent}</span>
        ) : (
          <Text>{item.promptVersionId}</Text>
        )}
      </Cell>
      <Cell className="c-status">
        <Status status={item.status} />
      </Cell>
      <Cell className="c-latency">{duration(item.latencyMs)}</Cell>
      <Cell className="c-ttft">{duration(item.ttftMs)}</Cell>
      <Cell className="c-tokens">
        {item.inputTokens === null && item.outputTokens === null ? (
          absent
        ) : (
          <>
            {count(item.inputTokens)} <span className="quiet">→</span> {count(item.outputTokens)}
          </>
        )}
      </Cell>
      <Cell className="c-cost">{cost(item.costUsd)}</Cell>
      <Cell className="c-spans">
        {count(item.spanCount)}
        <span
          className="spans-failed"
          data-none={item.errorCount === 0 || undefined}
          title={`${count(item.errorCount)} with an error`}
        >
          {count(item.errorCount)}
        </span>
      </Cell>
    </>
  )
})
