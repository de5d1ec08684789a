// One line of the waterfall: where the span hangs, what it is, when it ran, and the numbers one came for.

import { memo } from 'react'
import { count, counted, duration } from '../format.ts'
import { Badge, Text } from '../ui/atoms.tsx'
import { Cell } from '../ui/Cells.tsx'
import { Icon } from '../ui/icons.tsx'
import { place, type Window } from './scale.ts'
import type { Row, SpanRow } from './tree.ts'

// Deeper levels share the last indent: the name must stay readable; aria-level and the number beside it tell the depth.
const indentMax = 16
const typeLabels: Record<string, string> = {
  llm: 'LLM',
  chat: 'LLM',
  generation: 'LLM',
  text_completion: 'LLM',
  completion: 'LLM',
  responses: 'LLM',
  embedding: 'EMB',
  embeddings: 'EMB',
  tool: 'TOOL',
  execute_tool: 'TOOL',
  agent: 'AGENT',
  invoke_agent: 'AGENT',
  chain: 'CHAIN',
  workflow: 'CHAIN',
  retriever: 'RETR',
  retrieval: 'RETR',
  reranker: 'RANK',
  guardrail: 'GUARD',
  evaluator: 'EVAL',
  db: 'DB',
  http: 'HTTP',
}

type Props = { row: Row; shown: Window; folded: boolean; onToggle: (key: number) => void }

export const WaterfallRow = memo(function WaterfallRow({ row, shown, folded, onToggle }: Props) {
  return (
    <>
      <Cell className="span-name" style={{ paddingLeft: 8 + 14 * Math.min(row.depth, indentMax) }}>
        {row.descendants > 0 ? (
          <button
            type="button"
            className="fold"
            tabIndex={-1}
            aria-label={`${folded ? 'Unfold' : 'Fold'} ${counted(row.descendants, 'span')}`}
            onClick={() => onToggle(row.key)}
          >
            <Icon name={folded ? 'right' : 'down'} />
          </button>
        ) : (
          <span className="fold" />
        )}
        {row.kind === 'span' ? (
          <SpanName row={row} folded={folded} />
        ) : (
          <MissingName id={row.parentSpanId} />
        )}
      </Cell>
      <Cell className="track">{row.kind === 'span' && <Bar row={row} shown={shown} />}</Cell>
    </>
  )
})

function SpanName({ row, folded }: { row: SpanRow; folded: boolean }) {
  const { span } = row
  const type = typeLabels[span.type.toLowerCase()]
  return (
    <>
      {type && (
        <span className="type" title={span.type}>
          {type}
        </span>
      )}
      <span className="span-title" title={span.name}>
        <Text>{span.name || '(no name)'}</Text>
      </span>
      {row.depth > indentMax && <Badge title="depth in the tree">level {row.depth + 1}</Badge>}
      {folded && <Badge title="spans folded below">{`+${count(row.descendants)}`}</Badge>}
      {row.cut && <Badge title="Its parents form a circle, which was cut here">cycle</Badge>}
      {row.adrift && (
        <Badge title="Its clock is days away from the others; it has no place on this axis">
          clock adrift
        </Badge>
      )}
      <span className="span-service" title={span.service}>
        <Text>{span.service}</Text>
      </span>
    </>
  )
}

function MissingName({ id }: { id: string }) {
  return (
    <span
      className="span-title span-missing"
      title={`Spans name ${id} as their parent, and it has not arrived`}
    >
      missing parent <code>{<Text>{id}</Text>}</code>
    </span>
  )
}

function Bar({ row, shown }: { row: SpanRow; shown: Window }) {
  const { span } = row
  if (row.adrift)
    return (
      <span className="bar-text" style={{ left: 0 }}>
        {duration(span.durationMs)}
      </span>
    )
  const at = place(row.startMs, span.durationMs, shown)
  const text = textPlace(at.left, at.width)
  return (
    <>
      {at.side === 'inside' && (
        <span
          className="bar"
          data-skewed={row.skewed || undefined}
          style={{ left: `${at.left}%`, width: `${at.width}%` }}
        />
      )}
      <span
        className="bar-text"
        data-inside={text.inside || undefined}
        style={text.style}
        title={row.skewed ? 'Starts before its parent: their clocks differ' : undefined}
      >
        {at.side === 'before' && '← '}
        <b>{duration(span.durationMs)}</b>
        {(span.inputTokens !== null || span.outputTokens !== null) && (
          <span>{`${count(span.inputTokens)} → ${count(span.outputTokens)} tok`}</span>
        )}
        {span.model && (
          <span>
            <Text>{span.model}</Text>
          </span>
        )}
        {at.side === 'after' && ' →'}
      </span>
    </>
  )
}

/** The numbers stand after the bar; before it where the right edge is near; on it where it fills the track. */
function textPlace(left: number, width: number): { inside: boolean; style: React.CSSProperties } {
  const end = left + width
  if (end < 66) return { inside: false, style: { left: `${end}%`, maxWidth: `${100 - end}%` } }
  if (left > 34) return { inside: false, style: { right: `${100 - left}%`, maxWidth: `${left}%` } }
  return { inside: true, style: { right: `${100 - end}%`, maxWidth: `${width}%` } }
}
