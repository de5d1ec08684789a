// Every row of the conformance table, and the ids that a complete table names.

import { httpRows } from './http-rows.ts'
import { jsonRows } from './json-rows.ts'
import { protobufRows } from './protobuf-rows.ts'
import type { Row } from './row.ts'
import { spanRows } from './span-rows.ts'

export const rows: Row[] = [...httpRows, ...jsonRows, ...protobufRows, ...spanRows].sort(
  (a, b) => rank(a.id) - rank(b.id),
)

/** H: requirements of the specification. T: tricky payloads. B: the bad-input catalogue. */
export const knownIds: string[] = [
  ...numbered('H', 1, 25, 1),
  ...numbered('T', 1, 40, 1),
  ...numbered('B', 1, 36, 3),
  ...numbered('B', 40, 54, 3),
  ...numbered('B', 60, 68, 3),
]

function numbered(letter: string, from: number, to: number, digits: number): string[] {
  return Array.from(
    { length: to - from + 1 },
    (_, i) => letter + String(from + i).padStart(digits, '0'),
  )
}

function rank(id: string): number {
  return 'HTB'.indexOf(id[0] ?? '') * 1_000 + Number(/\d+/.exec(id)?.[0] ?? 0)
}
