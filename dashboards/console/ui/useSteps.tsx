// Long runs of uneven blocks, where a virtual list would jump: a first step of them, and a button for the next.

import { type ReactNode, useState } from 'react'
import { counted } from '../format.ts'

export function useSteps(count: number, step: number): { shown: number; more: ReactNode } {
  const [shown, setShown] = useState(step)
  if (count <= shown) return { shown: count, more: null }
  const next = Math.min(step, count - shown)
  return {
    shown,
    more: (
      <button type="button" className="button" onClick={() => setShown(shown + step)}>
        Show {next} more of {counted(count - shown, 'left', 'left')}
      </button>
    ),
  }
}
