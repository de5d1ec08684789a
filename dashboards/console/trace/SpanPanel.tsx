// One span, whole, beside the waterfall: five views of it, one at a time, named in the URL.

import { useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useId } from 'react'
import { spanQuery } from '../client.ts'
import { duration } from '../format.ts'
import { usePreference } from '../preferences.ts'
import { Failure, Id, Loading, Status, Text, Time } from '../ui/atoms.tsx'
import { Divider } from '../ui/Divider.tsx'
import { Icon } from '../ui/icons.tsx'
import { type PanelTab, panelTabs } from '../url.ts'
import type { Skeleton, Span, Trace } from '../wire.ts'
import { Attributes } from './Attributes.tsx'
import { Messages } from './Messages.tsx'
import { Raw } from './Raw.tsx'
import { Receipt } from './Receipt.tsx'
import { Usage } from './Usage.tsx'

const titles: Record<PanelTab, string> = {
  messages: 'Messages',
  attributes: 'Attributes',
  tokens: 'Tokens & cost',
  receipt: 'Receipt',
  raw: 'Raw',
}

type Props = {
  trace: Trace
  spanId: string
  originUnixNano: bigint
  tab: PanelTab
  onTab: (tab: PanelTab) => void
  onClose: () => void
}

export function SpanPanel({ trace, spanId, originUnixNano, tab, onTab, onClose }: Props) {
  const id = useId()
  const [width, setWidth] = usePreference('panelWidth')
  const found = useQuery(spanQuery(trace.traceId, spanId))
  const skeleton = found.data ?? trace.spans.find((span) => span.spanId === spanId)
  return (
    <aside className="panel" aria-label="Span" style={{ width }}>
      <Divider
        label="Width of the span panel"
        at={width}
        min={360}
        max={960}
        onMove={setWidth}
        side="right"
      />
      <PanelHead
        spanId={spanId}
        span={skeleton}
        message={found.data?.statusMessage ?? ''}
        onClose={onClose}
      />
      <div
        className="tabs"
        role="tablist"
        aria-label="Views of the span"
        onKeyDown={(event) => turn(event, tab, onTab)}
      >
        {panelTabs.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            aria-selected={name === tab}
            aria-controls={`${id}-body`}
            tabIndex={name === tab ? 0 : -1}
            onClick={() => onTab(name)}
          >
            {titles[name]}
          </button>
        ))}
      </div>
      <div
        className="panel-body"
        role="tabpanel"
        id={`${id}-body`}
        aria-labelledby={`${id}-${tab}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling panel has to be reachable by keyboard
        tabIndex={0}
        key={`${spanId} ${tab}`}
      >
        {found.isPending && <Loading what="the span" />}
        {found.isError && !found.data && (
          <Failure error={found.error} what="the span" retry={() => void found.refetch()} />
        )}
        {found.data && <Body tab={tab} span={found.data} originUnixNano={originUnixNano} />}
      </div>
    </aside>
  )
}

type HeadProps = {
  spanId: string
  span: Skeleton | undefined
  message: string
  onClose: () => void
}

function PanelHead({ spanId, span, message, onClose }: HeadProps) {
  return (
    <header className="panel-head">
      <div className="panel-title">
        <h2>
          <Text>{span?.name || '(no name)'}</Text>
        </h2>
        <button
          type="button"
          className="tool"
          onClick={onClose}
          aria-label="Close the span panel"
          title="Close (Esc)"
        >
          <Icon name="close" />
        </button>
      </div>
      {span && (
        <div className="panel-facts">
          <Status status={span.status} />
          <span>{duration(span.durationMs)}</span>
          <Time iso={span.startedAt} />
          <Text>{span.service}</Text>
          <Id id={spanId} what="span id" />
        </div>
      )}
      {message !== '' && (
        <p className="panel-error" data-tone={span?.status === 'error' ? 'error' : undefined}>
          <Text>{message}</Text>
        </p>
      )}
    </header>
  )
}

function Body({
  tab,
  span,
  originUnixNano,
}: {
  tab: PanelTab
  span: Span
  originUnixNano: bigint
}) {
  switch (tab) {
    case 'messages':
      return <Messages span={span} />
    case 'attributes':
      return <Attributes attributes={span.attributes} />
    case 'tokens':
      return <Usage span={span} />
    case 'receipt':
      return <Receipt span={span} />
    case 'raw':
      return <Raw span={span} originUnixNano={originUnixNano} />
    default:
      return tab satisfies never
  }
}

/** Left and right turn the tabs and take the focus along, as the tab pattern of WAI-ARIA has it. */
function turn(
  event: KeyboardEvent<HTMLElement>,
  tab: PanelTab,
  onTab: (tab: PanelTab) => void,
): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0
  if (step === 0) return
  event.preventDefault()
  const at = (panelTabs.indexOf(tab) + step + panelTabs.length) % panelTabs.length
  onTab(panelTabs[at]!)
  event.currentTarget.querySelectorAll<HTMLElement>('[role=tab]')[at]?.focus()
}
