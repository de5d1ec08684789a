// Values of attributes by position: what a scan remembers instead of strings.

/** What an AnyValue holds, as its field numbers; 0 is an empty value. */
export const valueTypes = {
  none: 0,
  string: 1,
  bool: 2,
  int: 3,
  double: 4,
  array: 5,
  kvlist: 6,
  bytes: 7,
} as const

/** The value read last: its type, where its content is, and the number if it is one. */
export type ReadValue = {
  valueType: number
  valueAt: number
  valueEnd: number
  valueNumber: number
}

/** Where values are: parallel arrays, so that a span of any size allocates nothing. */
export class Values {
  readonly type: Uint8Array
  readonly at: Int32Array
  readonly end: Int32Array
  readonly number: Float64Array

  constructor(size: number) {
    this.type = new Uint8Array(size)
    this.at = new Int32Array(size)
    this.end = new Int32Array(size)
    this.number = new Float64Array(size)
  }

  copy(slot: number, value: ReadValue): void {
    this.type[slot] = value.valueType
    this.at[slot] = value.valueAt
    this.end[slot] = value.valueEnd
    this.number[slot] = value.valueNumber
  }
}
