// What was started in order is stopped in reverse. One that fails to stop is named, and the next is stopped all the same.

export type Closer = { name: string; close: (hurry?: AbortSignal) => Promise<void> }

/** Empties the list from its end. Never rejects; a second call finds nothing left to do. */
export async function closeInOrder(
  closers: Closer[],
  log: (line: string) => void,
  hurry?: AbortSignal,
): Promise<void> {
  for (let closer = closers.pop(); closer; closer = closers.pop()) {
    try {
      await closer.close(hurry)
    } catch (error) {
      log(
        `${closer.name} did not stop cleanly: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  }
}
