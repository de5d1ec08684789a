// Memory that goes round: the bytes of a chunk from its commit to its insert. Fresh memory for each was most of what the garbage
// collector worked on, because V8 collects the whole heap for every few dozen MiB that come and go outside of it.
// Law: the slabs of a chunk are given back once, by the one who knows that nobody reads it any more.

/** Small enough that a chunk which does not fit in the rest of one wastes little, large enough to be written and sent as it is. */
export const slabBytes = 256 * 1024

// From this size on malloc maps memory of its own, whatever came before, and unmaps it; smaller pieces stay with the process: 60 MiB
// of it after five seconds of 20,000 spans/s. What no slab has touched yet takes no room.
const regionBytes = 32 << 20
const restMs = 10_000

type Region = { readonly free: Slab[]; resting: NodeJS.Timeout | undefined }

/** `chunks` lie in its first `filled` bytes. */
export type Slab = {
  readonly bytes: Buffer
  readonly region: Region
  filled: number
  chunks: number
}

/** Bounded by what bounds the chunks, to twice their bytes. A region that nobody needed for ten seconds is let go. */
export class Slabs {
  #regions: Region[] = []
  /** Where the next chunk begins. */
  #open: Slab | undefined

  /** For a chunk of so many bytes; one that fits in a slab will lie in one piece. */
  begin(bytes: number): SlabWriter {
    if (this.#open && this.#open.filled + Math.min(bytes, slabBytes) > slabBytes)
      this.#open = undefined
    return new SlabWriter(() => this.#take())
  }

  give(slabs: readonly Slab[]): void {
    for (const slab of slabs) {
      slab.chunks -= 1
      if (slab.chunks > 0) continue
      if (this.#open === slab) this.#open = undefined
      slab.filled = 0
      const { region } = slab
      region.free.push(slab)
      if (region.free.length === regionBytes / slabBytes) this.#rest(region)
    }
  }

  /** One with room, for one more chunk. */
  #take(): Slab {
    let slab = this.#open
    if (!slab || slab.filled === slabBytes) {
      const region = this.#regions.find(({ free }) => free.length > 0) ?? this.#newRegion()
      clearTimeout(region.resting)
      slab = region.free.pop()! // it has one
      this.#open = slab
    }
    slab.chunks += 1
    return slab
  }

  #newRegion(): Region {
    const memory = Buffer.allocUnsafeSlow(regionBytes)
    const region: Region = { free: [], resting: undefined }
    // The first is taken first, so that what is used lies together.
    for (let at = regionBytes - slabBytes; at >= 0; at -= slabBytes)
      region.free.push({
        bytes: memory.subarray(at, at + slabBytes),
        region,
        filled: 0,
        chunks: 0,
      })
    this.#regions.push(region)
    return region
  }

  #rest(region: Region): void {
    region.resting = setTimeout(() => {
      this.#regions = this.#regions.filter((other) => other !== region)
    }, restMs)
    region.resting.unref()
  }
}

/** Takes the bytes of one chunk, piece by piece. */
export class SlabWriter {
  readonly taken: Slab[] = []
  /** Everything written, in order. */
  readonly places: Buffer[] = []
  readonly #take: () => Slab
  #from = 0

  constructor(take: () => Slab) {
    this.#take = take
  }

  /** Copies the pieces; where their bytes lie now, in order. */
  write(pieces: readonly Buffer[]): Buffer[] {
    const places: Buffer[] = []
    let slab = this.taken.at(-1)
    let from = slab?.filled ?? 0
    for (const piece of pieces) {
      for (let done = 0; done < piece.length; ) {
        if (!slab || slab.filled === slabBytes) {
          if (slab && from < slabBytes) places.push(slab.bytes.subarray(from))
          this.#leave()
          slab = this.#take()
          this.taken.push(slab)
          from = this.#from = slab.filled
        }
        const copied = piece.copy(slab.bytes, slab.filled, done)
        done += copied
        slab.filled += copied
      }
    }
    if (slab && from < slab.filled) places.push(slab.bytes.subarray(from, slab.filled))
    return places
  }

  /** Nothing more comes: everything written, in order. */
  end(): Buffer[] {
    this.#leave()
    return this.places
  }

  #leave(): void {
    const slab = this.taken.at(-1)
    if (slab && this.#from < slab.filled)
      this.places.push(slab.bytes.subarray(this.#from, slab.filled))
  }
}
