// Every single call of the disk fails once, in turn: whatever it was for, nothing acknowledged is lost, and writers hear 503.

import { expect, test } from 'vitest'
import { type Fault as DiskFault, MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, pushSpan } from './spool-rows.ts'
import { openWorld } from './spool-world.ts'

const retryable = ['service_unavailable']

/** Enough to open and roll segments, drain, retire and remove: every kind of call is made. */
async function live(disk: MemoryDisk, house: MemoryClickHouse, acknowledged: string[]) {
  const world = await openWorld({ disk, limits: { retainedBytes: 40 * 1024 } })
  world.spool.drainTo(house.insert)
  const answers: string[] = []
  for (let i = 0; i < 16; i++) {
    const name = `row ${i} `.padEnd(3_000, '.')
    const write = world.spool.write((batch) => pushSpan(batch, name))
    await write.then(
      () => acknowledged.push(name),
      (error) => answers.push(error.code),
    )
    if (i % 6 === 5) await world.spool.flush()
  }
  return { world, answers }
}

test.each(['ENOSPC', 'EIO', 'lost', 'short'] satisfies DiskFault[])(
  'with %s at any call, what was acknowledged is stored once, and what was not is refused so that it is sent again',
  async (fault) => {
    let isBeyond = false
    let met = 0
    for (let at = 0; !isBeyond; at++) {
      const disk = new MemoryDisk()
      const house = new MemoryClickHouse()
      const acknowledged: string[] = []
      let calls = 0
      disk.fault = () => (calls++ === at ? fault : undefined)
      const lived = await live(disk, house, acknowledged).catch((error) => String(error))
      isBeyond = calls <= at
      disk.fault = () => undefined
      if (typeof lived === 'string') {
        // The call was part of the start: it says so in a sentence, and the next start works.
        expect(lived, `call ${at}`).toMatch(/injected|pages were lost|took no bytes/)
        continue
      }
      met += lived.answers.length
      expect(lived.answers.filter((code) => !retryable.includes(code))).toEqual([])
      const next = disk.crash(at % 2 === 0 ? 'kill' : 'power', () => 1)
      await lived.world.spool.close(0)
      const { spool } = await openWorld({ disk: next })
      spool.drainTo(house.insert)
      expect(await spool.flush(), `call ${at}`).toBe(true)
      await spool.close()
      for (const table of ['spans', 'payloads'] as const) {
        const names = house.names(table)
        expect(names.length, `nothing twice at call ${at}`).toBe(new Set(names).size)
        expect(
          acknowledged.filter((name) => !names.includes(name)),
          `nothing lost at call ${at}`,
        ).toEqual([])
      }
    }
    if (fault !== 'short') expect(met).toBeGreaterThan(10)
  },
)
