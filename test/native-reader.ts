// Sealed Native blocks read back, to judge what a collector stored. Bytes stay bytes where a column holds messages.

export type Cell = string | number | bigint | Buffer | Map<string, string | number>
export type NativeRow = Record<string, Cell>

/** Columns that hold messages, not text. */
const binary = new Set(['raw', 'canonical'])

/** The rows of one block; anything after it is a mistake. */
export function readNative(block: Buffer): NativeRow[] {
  const { rows, end } = readOne(block, 0)
  if (end !== block.length) throw new Error(`${block.length - end} bytes follow the block`)
  return rows
}

/** The rows of blocks that stand one after the other, as the drain sends them. */
export function readNativeBlocks(blocks: Buffer): NativeRow[] {
  const all: NativeRow[] = []
  for (let at = 0; at < blocks.length; ) {
    const { rows, end } = readOne(blocks, at)
    for (const row of rows) all.push(row)
    at = end
  }
  return all
}

function readOne(block: Buffer, start: number): { rows: NativeRow[]; end: number } {
  let at = start
  const take = (size: number): Buffer => {
    if (at + size > block.length) throw new Error('the block ends early')
    at += size
    return block.subarray(at - size, at)
  }
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = take(1)[0]!
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  const bytes = (): Buffer => take(varint())
  const text = (): string => new TextDecoder('utf-8', { fatal: true }).decode(bytes())
  const cell = (type: string, name: string): Cell => {
    const width = /^FixedString\((\d+)\)$/.exec(type)?.[1]
    if (width) return take(Number(width)).toString('hex')
    switch (type) {
      case 'String':
        return binary.has(name) ? Buffer.from(bytes()) : text()
      case 'UInt8':
        return take(1)[0]!
      case 'UInt32':
      case 'DateTime':
        return take(4).readUInt32LE()
      case 'Float64':
        return take(8).readDoubleLE()
      case 'Int64':
        return take(8).readBigInt64LE()
      default:
        return take(8).readBigUInt64LE()
    }
  }
  const word = (): number => Number(take(8).readBigUInt64LE())
  /** Additional keys, then which of them each row has. Nothing at all where there are no rows. */
  const dictionary = (count: number): string[] => {
    if (count === 0) return []
    const form = word()
    if (form >> 8 !== 6 || (form & 0xff) > 2) throw new Error(`dictionary of form ${form}`)
    const keys = Array.from({ length: word() }, text)
    if (word() !== count) throw new Error('a dictionary of another number of rows')
    const width = 1 << (form & 0xff)
    return Array.from({ length: count }, () => {
      const key = keys[take(width).readUIntLE(0, width)]
      if (key === undefined) throw new Error('a row without its key')
      return key
    })
  }
  const columns = varint()
  const rows: NativeRow[] = Array.from({ length: varint() }, () => ({}))
  for (let i = 0; i < columns; i++) {
    const name = text()
    const type = text()
    const mapOf = /^Map\((?:String|LowCardinality\(String\)), (\w+)\)$/.exec(type)?.[1]
    const isDictionary = type.includes('LowCardinality')
    if (isDictionary && word() !== 1) throw new Error(`${name} has an unknown form`)
    const texts = (count: number): string[] =>
      isDictionary ? dictionary(count) : Array.from({ length: count }, text)
    if (mapOf !== undefined)
      readMaps(rows, name, { end: word, texts, value: () => cell(mapOf, name) })
    else if (isDictionary)
      for (const [row, value] of texts(rows.length).entries()) rows[row]![name] = value
    else for (const row of rows) row[name] = cell(type, name)
  }
  return { rows, end: at }
}

function readMaps(
  rows: NativeRow[],
  name: string,
  read: { end: () => number; texts: (count: number) => string[]; value: () => Cell },
): void {
  const ends = rows.map(read.end)
  const keys = read.texts(ends.at(-1) ?? 0)
  const values = keys.map(read.value) as (string | number)[] // the only value types of our maps
  rows.forEach((row, i) => {
    const from = ends[i - 1] ?? 0
    const entries = keys
      .slice(from, ends[i])
      .map((key, j): [string, string | number] => [key, values[from + j]!])
    const map = new Map(entries)
    if (map.size !== entries.length) throw new Error(`${name} of row ${i} has a key twice`)
    row[name] = map
  })
}
