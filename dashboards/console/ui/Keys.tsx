// The keyboard, on one card: `?` opens it, Esc closes it.

import { useEffect, useRef } from 'react'

const keys: { keys: string[]; does: string }[] = [
  { keys: ['j', '↓'], does: 'next row' },
  { keys: ['k', '↑'], does: 'previous row' },
  { keys: ['Enter'], does: 'open the row' },
  { keys: ['Esc'], does: 'close the panel, then the zoom' },
  { keys: ['/'], does: 'go to the filter' },
  { keys: ['←', '→'], does: 'fold, unfold, go to the parent' },
  { keys: ['e'], does: 'next span with an error' },
  { keys: ['n'], does: 'next span that matches' },
  { keys: ['z', '0'], does: 'zoom to the span, show all' },
  { keys: ['?'], does: 'this card' },
]

export function Keys() {
  const card = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const typing =
        event.target instanceof Element && event.target.closest('input, textarea, select')
      if (event.key === '?' && !typing && !card.current?.open) card.current?.showModal()
    }
    addEventListener('keydown', onKeyDown)
    return () => removeEventListener('keydown', onKeyDown)
  }, [])
  return (
    <>
      <button
        type="button"
        className="tool"
        aria-label="Keyboard"
        title="Keyboard (?)"
        onClick={() => card.current?.showModal()}
      >
        <span className="kbd">?</span>
      </button>
      <dialog ref={card} className="keys" aria-label="Keyboard">
        <form method="dialog">
          <h2>Keyboard</h2>
          <dl>
            {keys.map((row) => (
              <div key={row.does}>
                <dt>
                  {row.keys.map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{row.does}</dd>
              </div>
            ))}
          </dl>
          <button type="submit" className="button">
            Close
          </button>
        </form>
      </dialog>
    </>
  )
}
