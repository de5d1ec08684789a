// Where the bytes of plain sockets are read to. Node gives every read memory of its own, 64 KiB that are cut down to the 200 bytes of an
// event and collected one by one; here all read to one place, and what came is copied to where small buffers share theirs.

import type { OnReadOpts, Socket } from 'node:net'

// As much as Node reads at once by itself.
const readBytesMax = 64 * 1024
// One for all: what a read leaves here is copied out before the next one.
const readInto = Buffer.allocUnsafeSlow(readBytesMax)

/** What to open one socket with, and what to call with it once it is open: before that nothing is read. */
export function sharedReads(): { onread: OnReadOpts; opened(socket: Socket): void } {
  let into: Socket | undefined
  return {
    onread: {
      buffer: readInto,
      /** False, as `push` says it, stops the reading until the stream asks for more. */
      callback(length, from) {
        const bytes = Buffer.allocUnsafe(length)
        bytes.set(length === from.length ? from : from.subarray(0, length))
        return into!.push(bytes)
      },
    },
    opened(socket) {
      into = socket
    },
  }
}
