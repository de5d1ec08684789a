// Rows and cells of the virtual lists. They are divs with roles, not table elements: a row that is placed by a transform and
// a column that is sized by a grid are nothing a <table> can be. Focus stays on the list; aria-activedescendant names the row.

import type { ReactNode } from 'react'

type CellProps = {
  children?: ReactNode
  className?: string
  title?: string
  label?: string
  isNumber?: boolean
  style?: React.CSSProperties
}

export function HeadRow({ children }: { children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the top of this file
    // biome-ignore lint/a11y/useFocusableInteractive: see the top of this file
    <div className="list-head" role="row">
      {children}
    </div>
  )
}

export function HeadCell({ children, className = '', title, label, isNumber }: CellProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the top of this file
    // biome-ignore lint/a11y/useFocusableInteractive: heads name their columns, they do not sort
    <div
      role="columnheader"
      className={`cell ${className}`}
      title={title}
      aria-label={label}
      data-number={isNumber || undefined}
    >
      {children}
    </div>
  )
}

export function Cell({ children, className = '', isNumber, style }: CellProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the top of this file
    // biome-ignore lint/a11y/useFocusableInteractive: see the top of this file
    <div
      role="gridcell"
      className={`cell ${className}`}
      style={style}
      data-number={isNumber || undefined}
    >
      {children}
    </div>
  )
}
