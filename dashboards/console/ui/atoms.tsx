// The smallest pieces every page is made of: text that cannot lie, ids that copy, states a page can be in.

import { type ReactNode, useEffect, useState } from 'react'
import { ApiError } from '../client.ts'
import { shortId, time } from '../format.ts'
import { push } from '../history.ts'
import { pieces } from '../text.ts'
import { Icon, type IconName } from './icons.tsx'

/** A link within the console. With a modifier key, or out of it, the browser does what it always does. */
export function Link({ href, children, ...rest }: React.ComponentProps<'a'> & { href: string }) {
  return (
    <a
      {...rest}
      href={href}
      onClick={(event) => {
        rest.onClick?.(event)
        const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
        if (event.defaultPrevented || !plain || event.button !== 0) return
        event.preventDefault()
        push(href)
      }}
    >
      {children}
    </a>
  )
}

/** Text from outside. Control, zero-width and direction-changing characters are shown by name. */
export function Text({ children }: { children: string }) {
  return pieces(children).map((piece, at) =>
    piece.mark === undefined ? (
      piece.text
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of one string never move
      <span key={at} className="hidden-char" title={`hidden character ${piece.mark}`}>
        {piece.mark}
      </span>
    ),
  )
}

export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false)
  useEffect(() => {
    if (!done) return
    const timer = setTimeout(() => setDone(false), 1200)
    return () => clearTimeout(timer)
  }, [done])
  return (
    <button
      type="button"
      className="copy"
      aria-label={done ? 'Copied' : `Copy ${what}`}
      title={done ? 'Copied' : `Copy ${what}`}
      onClick={(event) => {
        event.stopPropagation()
        void copyText(text).then(setDone)
      }}
    >
      <Icon name={done ? 'done' : 'copy'} />
    </button>
  )
}

/** An id: monospace, shortened only on demand, and always one click from the clipboard. */
export function Id({ id, what, short }: { id: string; what: string; short?: boolean }) {
  return (
    <span className="id" title={id}>
      <code>
        <Text>{short ? shortId(id) : id}</Text>
      </code>
      <Copy text={id} what={what} />
    </span>
  )
}

export function Time({ iso }: { iso: string }) {
  const { day, clock } = time(iso)
  return (
    <time dateTime={iso} title={`${iso} (UTC)`} className="time">
      {day !== '' && <span className="time-day">{day}</span>} {clock}
    </time>
  )
}

const tones: Record<string, string> = {
  ok: 'ok',
  unset: 'ok',
  cache_hit: 'ok',
  promoted: 'ok',
  passed: 'ok',
  completed: 'ok',
  error: 'error',
  failed: 'error',
  upstream_error: 'error',
  refused: 'error',
  client_closed: 'warn',
  truncated: 'warn',
  interrupted: 'warn',
  inconclusive: 'warn',
  rolled_back: 'warn',
  canary: 'busy',
  shadow: 'busy',
  replaying: 'busy',
  open: 'busy',
  candidate: 'busy',
}

/** Colour means status, and never status alone: the word stands beside it. */
export function Status({ status }: { status: string }) {
  return (
    <span className="status" data-tone={tones[status] ?? 'none'}>
      <Text>{(status === 'unset' ? 'ok' : status || 'unknown').replaceAll('_', ' ')}</Text>
    </span>
  )
}

export function Badge({ children, title }: { children: ReactNode; title?: string }) {
  return (
    <span className="badge" title={title}>
      {children}
    </span>
  )
}

export function Loading({ what }: { what: string }) {
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" />
      <p className="state-quiet">Loading {what} …</p>
    </div>
  )
}

export function Empty({
  icon,
  title,
  children,
}: {
  icon: IconName
  title: string
  children?: ReactNode
}) {
  return (
    <div className="state">
      <span className="state-icon">
        <Icon name={icon} />
      </span>
      <h2>{title}</h2>
      {children}
    </div>
  )
}

export function Failure({
  error,
  what,
  retry,
}: {
  error: unknown
  what: string
  retry?: () => void
}) {
  const api = error instanceof ApiError ? error : undefined
  return (
    <div className="state" role="alert">
      <span className="state-icon" data-tone="error">
        <Icon name="refused" />
      </span>
      <h2>Could not load {what}</h2>
      <p>
        <Text>{api?.message ?? 'Something in this page failed.'}</Text>
      </p>
      {api?.requestId && (
        <p className="state-quiet">
          Request <Id id={api.requestId} what="request id" />
        </p>
      )}
      {retry && (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

export function Snippet({ code, label }: { code: string; label: string }) {
  return (
    <figure className="snippet">
      <figcaption>
        {label}
        <Copy text={code} what={label} />
      </figcaption>
      <pre>{code}</pre>
    </figure>
  )
}

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Plain http off this machine has no clipboard: select nothing, promise nothing.
    return false
  }
}
