// Bytes that grow as they are written: the memory of one column, or of one block that is written out.

// A column starts small, because many requests carry one row, and doubles; a large block pays a few copies.
const bytesFirst = 256
// Up to here a loop is faster than a call into the runtime, which needs a view as well.
const loopBytesMax = 64

/** Hands out its filled part without copying. */
export class Growing {
  bytes = Buffer.allocUnsafe(bytesFirst)
  length = 0
  #view: DataView | undefined

  /** The same bytes as a view: copying four at a time takes a third of the time. Void once they have grown. */
  protected view(): DataView {
    const { bytes } = this
    this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    return this.#view
  }

  reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
    this.#view = undefined
  }

  filled(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  /** Bytes of somebody else's, from `start` to before `end`. */
  appendBytes(source: Buffer, start: number, end: number): void {
    const size = end - start
    this.reserve(size)
    const { bytes, length } = this
    if (size > loopBytesMax) source.copy(bytes, length, start, end)
    else for (let i = 0; i < size; i++) bytes[length + i] = source[start + i]!
    this.length = length + size
  }

  /** Rows of another column of the same kind, at the speed of memory. */
  append(other: Growing): void {
    this.appendBytes(other.bytes, 0, other.length)
  }
}
