// How long a sound is, from what can be known without decoding it.

// Speech coded as low as it is still used: so many bytes are never longer than this says.
const bytesPerSecondMin = 1000

// Samples as they are (PCM, floats, and both in the longer form): only of these the rate follows from what decoders go by.
const plainFormats = new Set([1, 3, 0xfffe])

/** Of RIFF/WAVE, by its `fmt ` chunk; undefined for anything else. `head`: the first bytes of the file. */
export function secondsOfWav(head: Buffer, fileBytes: number): number | undefined {
  if (head.length < 44 || head.toString('latin1', 0, 4) !== 'RIFF') return undefined
  if (head.toString('latin1', 8, 12) !== 'WAVE') return undefined
  let bytesPerSecond = 0
  for (let at = 12; at + 8 <= head.length; ) {
    const id = head.toString('latin1', at, at + 4)
    const size = head.readUInt32LE(at + 4)
    if (id === 'fmt ' && at + 24 <= head.length) bytesPerSecond = rateOf(head.subarray(at + 8))
    if (id === 'data') {
      if (bytesPerSecond === 0) return undefined
      // A size that was never filled in, as streamed files have it, is what follows.
      const bytes = Math.min(size, fileBytes - at - 8)
      return bytes / bytesPerSecond
    }
    at += 8 + size + (size % 2)
  }
  return undefined
}

/** 0 when it is not what samples, channels and bits make: decoders do not read it, and a caller who pays by it wrote it. */
function rateOf(format: Buffer): number {
  const samples = format.readUInt32LE(4)
  const rate = (samples * format.readUInt16LE(2) * format.readUInt16LE(14)) / 8
  const isPlain = plainFormats.has(format.readUInt16LE(0))
  return isPlain && format.readUInt32LE(8) === rate ? rate : 0
}

/** The end of the last cue of SRT or WebVTT; undefined when the text has none. */
export function secondsOfCues(text: string): number | undefined {
  let end: number | undefined
  for (const match of text.matchAll(/--> *(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{3})/g)) {
    const [hours = 0, minutes, seconds, ms] = match.slice(1).map((digits) => Number(digits ?? 0))
    end = Math.max(end ?? 0, hours * 3600 + minutes! * 60 + seconds! + ms! / 1000)
  }
  return end
}

export function secondsAtMost(bytes: number): number {
  return bytes / bytesPerSecondMin
}
