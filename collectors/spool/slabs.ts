// Memory that goes round: the bytes of a chunk from its commit to its insert. Fresh memory for each was most of what the garbage
// collector worked on, because V8 collects the whole heap for every few dozen MiB that come and go outside of it.
// Law: a slab is given back once, by the one who knows that nobody reads it any more; one never given back is only garbage.

/** Small enough that the last one of a chunk wastes little, large enough to be written and sent as it is. */
export const slabBytes = 256 * 1024

export class Slabs {
  readonly #free: Buffer[] = []
  readonly #freeMax: number

  /** Keeps at most this many bytes for the next to take. */
  constructor(bytesMax: number) {
    this.#freeMax = Math.floor(bytesMax / slabBytes)
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(slabBytes)
  }

  give(slabs: readonly Buffer[]): void {
    for (const slab of slabs) if (this.#free.length < this.#freeMax) this.#free.push(slab)
  }
}

/** Fills slab after slab with what it is given. */
export class SlabWriter {
  readonly taken: Buffer[] = []
  readonly #slabs: Slabs
  #at = slabBytes

  constructor(slabs: Slabs) {
    this.#slabs = slabs
  }

  /** Copies the pieces; where their bytes lie now, in order. */
  write(pieces: readonly Buffer[]): Buffer[] {
    const places: Buffer[] = []
    let from = this.#at
    for (const piece of pieces) {
      for (let done = 0; done < piece.length; ) {
        if (this.#at === slabBytes) {
          if (from < slabBytes) places.push(this.taken.at(-1)!.subarray(from))
          this.taken.push(this.#slabs.take())
          this.#at = from = 0
        }
        const copied = piece.copy(this.taken.at(-1)!, this.#at, done)
        done += copied
        this.#at += copied
      }
    }
    if (from < this.#at) places.push(this.taken.at(-1)!.subarray(from, this.#at))
    return places
  }
}
