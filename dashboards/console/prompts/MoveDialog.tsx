// Promote and roll back: what will happen in a sentence, a reason for the history, and what the plane says against it.

import { useEffect, useId, useRef, useState } from 'react'
import { ApiError, movePrompt } from '../client.ts'
import { Text } from '../ui/atoms.tsx'
import type { Registry } from '../wire-prompts.ts'

export type Move = { kind: 'promote'; versionId: string } | { kind: 'rollback' }

type Props = { registry: Registry; move: Move; onClose: () => void }

export function MoveDialog({ registry, move, onClose }: Props) {
  const box = useRef<HTMLDialogElement>(null)
  const id = useId()
  const [reason, setReason] = useState('')
  const [state, setState] = useState({ busy: false, mistake: '' })
  useEffect(() => box.current?.showModal(), [])
  const submit = async () => {
    setState({ busy: true, mistake: '' })
    try {
      await movePrompt(registry.registryId, move.kind, bodyOf(registry, move, reason.trim()))
      onClose()
    } catch (error) {
      const mistake = error instanceof ApiError ? error.message : 'Something in this page failed.'
      setState({ busy: false, mistake })
    }
  }
  return (
    <dialog ref={box} className="dialog" aria-labelledby={`${id}-title`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <h2 id={`${id}-title`}>{move.kind === 'promote' ? 'Promote' : 'Roll back'}</h2>
        <p>{sentenceOf(registry, move)}</p>
        <label htmlFor={`${id}-reason`}>Reason, for the history</label>
        <textarea
          id={`${id}-reason`}
          rows={3}
          maxLength={1000}
          value={reason}
          onChange={(event) => setReason(event.target.value)}
        />
        {state.mistake !== '' && (
          <p className="login-mistake" role="alert">
            <Text>{state.mistake}</Text>
          </p>
        )}
        <div className="dialog-foot">
          <button type="button" className="button" onClick={() => box.current?.close()}>
            Cancel
          </button>
          <button
            type="submit"
            className="button button-main"
            disabled={state.busy || reason.trim() === ''}
          >
            {move.kind === 'promote' ? 'Promote' : 'Roll back'}
          </button>
        </div>
      </form>
    </dialog>
  )
}

// What the reader saw in force is what they decided against: if another is by now, the plane refuses.
function bodyOf(registry: Registry, move: Move, reason: string): Record<string, unknown> {
  if (move.kind === 'rollback') return { reason }
  return {
    version: move.versionId,
    expected_promoted_version: registry.promotedVersionId,
    reason,
  }
}

function sentenceOf(registry: Registry, move: Move): string {
  const present = registry.promotedVersionId
  if (move.kind === 'rollback')
    return `${present} is taken out of force; the one before it comes back.`
  const instead = present ? `, instead of ${present}` : ''
  return registry.promotionEffect === 'routing'
    ? `${move.versionId} will answer every call that names this prompt${instead}.`
    : `${move.versionId} becomes the reference that new versions are held against${instead}. It routes nothing.`
}
