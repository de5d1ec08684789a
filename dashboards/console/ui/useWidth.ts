// How wide an element is now, in CSS pixels; 0 before it is measured.

import { type RefObject, useEffect, useState } from 'react'

export function useWidth(ref: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0)
  useEffect(() => {
    if (!ref.current) return
    const sizes = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 0))
    sizes.observe(ref.current)
    return () => sizes.disconnect()
  }, [ref])
  return width
}
