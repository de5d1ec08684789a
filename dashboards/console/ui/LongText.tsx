// Text of any length without ever laying out more than the reader asked for: a 10 MB line must not freeze the page.

import { useState } from 'react'
import { bytes } from '../format.ts'
import { Text } from './atoms.tsx'

// Folded: about a screen of prose. Unfolded: grows by a step a browser lays out in a blink.
const foldedMax = 1600
const stepMax = 60_000

export function LongText({ text, mono }: { text: string; mono?: boolean }) {
  const [shown, setShown] = useState(foldedMax)
  const cut = text.length > shown
  const visible = cut ? whole(text.slice(0, shown)) : text
  return (
    <div className="long">
      <pre className={mono ? 'mono' : 'prose'} dir="auto">
        <Text>{visible}</Text>
        {cut && '…'}
      </pre>
      {text.length > foldedMax && (
        <div className="long-more">
          {cut && (
            <button
              type="button"
              onClick={() => setShown(Math.min(text.length, Math.max(stepMax, shown + stepMax)))}
            >
              Show {text.length - shown > stepMax ? 'more' : 'all'}
            </button>
          )}
          {shown > foldedMax && (
            <button type="button" onClick={() => setShown(foldedMax)}>
              Fold
            </button>
          )}
          <span className="quiet">
            {bytes(Math.min(shown, text.length))} of {bytes(text.length)}
          </span>
        </div>
      )}
    </div>
  )
}

/** A cut never leaves half of a surrogate pair behind. */
function whole(text: string): string {
  return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text
}
