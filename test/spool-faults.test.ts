// Whatever calls of the disk and of ClickHouse fail, and whenever the process dies: what was acknowledged is there once.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TableName } from '../schemas/tables.ts'
import { type DiskOp, type Fault, MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, namesIn, poison, pushSpan } from './spool-rows.ts'
import { openWorld, randomOf, type World } from './spool-world.ts'

type Step =
  | { do: 'write'; rows: number; width: number; isPoisoned: boolean; closes: boolean }
  | { do: 'call'; isAlone: boolean }
  | { do: 'wait'; turns: number }
  | { do: 'diskFault'; op: DiskOp; after: number; fault: Fault; times: number }
  | { do: 'houseFault'; when: 'before' | 'after'; times: number }
  | { do: 'flush' }
  | { do: 'clock'; byMs: number }
  | { do: 'crash'; kind: 'kill' | 'power'; seed: number }
  | { do: 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      rows: fc.integer({ min: 1, max: 9 }),
      width: fc.integer({ min: 1, max: 6_000 }),
      isPoisoned: fc.integer({ min: 0, max: 9 }).map((of10) => of10 === 7),
      closes: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('call' as const), isAlone: fc.boolean() }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      turns: fc.integer({ min: 0, max: 60 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('diskFault' as const),
      op: fc.oneof(
        fc.constantFrom<DiskOp>('write', 'sync'),
        fc.constantFrom<DiskOp>('open', 'syncDir', 'rename', 'remove', 'truncate', 'read', 'stat'),
      ),
      after: fc.integer({ min: 0, max: 12 }),
      fault: fc.constantFrom<Fault>('ENOSPC', 'EIO', 'short', 'lost'),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('houseFault' as const),
      when: fc.constantFrom('before' as const, 'after' as const),
      times: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'flush' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('clock' as const),
      byMs: fc.integer({ min: -100_000, max: 100_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      kind: fc.constantFrom('kill' as const, 'power' as const),
      seed: fc.integer(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
)

/** Runs one schedule and says what was promised and what is there. */
class Run {
  readonly house = new MemoryClickHouse()
  readonly acknowledged = new Set<string>()
  readonly refused = new Set<string>()
  /** Calls: opened and acknowledged; closed, whatever became of that; closed and acknowledged. */
  readonly calls = {
    opened: new Set<string>(),
    ended: new Set<string>(),
    closed: new Set<string>(),
  }
  interrupted: string[] = []
  hadPowerLoss = false
  readonly #random: () => number
  #nowMs = 1_800_000_000_000
  #count = 0
  /** Of the present process: a crash ends them. */
  #running: string[] = []
  #world: World | undefined
  #faults: { op: DiskOp; after: number; fault: Fault; times: number }[] = []
  #houseFaults: { when: 'before' | 'after'; times: number }[] = []
  #settling: Promise<void>[] = []

  constructor(seed: number) {
    this.#random = randomOf(seed)
  }

  async play(steps: readonly Step[]): Promise<void> {
    this.#arm()
    await this.#open(new MemoryDisk())
    for (const one of steps) await this.#take(one)
    this.#faults = []
    this.#houseFaults = []
    await this.#restart()
    this.interrupted = this.#world!.spool.interrupted().map(({ note }) => note)
    expect(await this.#world!.spool.flush(20_000)).toBe(true)
    await this.#world!.spool.close()
    await Promise.all(this.#settling)
  }

  /** Names that were set aside after ClickHouse refused them. */
  quarantined(table: TableName): string[] {
    const { disk } = this.#world!
    const files = disk.paths().filter((path) => path.endsWith(`.${table}.bin`))
    return files.flatMap((path) => namesIn(table, disk.bytesOf(path)))
  }

  async #take(one: Step): Promise<void> {
    const { spool } = this.#world!
    switch (one.do) {
      case 'write':
        return this.#write(one)
      case 'call':
        return this.#call(one.isAlone)
      case 'wait':
        for (let i = 0; i < one.turns; i++) await new Promise((resolve) => setImmediate(resolve))
        return
      case 'diskFault':
        this.#faults.push({ ...one })
        return
      case 'houseFault':
        this.#houseFaults.push({ ...one })
        return
      case 'flush':
        await spool.flush(5)
        return
      case 'clock':
        this.#nowMs += one.byMs
        return
      case 'crash':
        this.hadPowerLoss ||= one.kind === 'power'
        return this.#crash(one.kind, one.seed)
      case 'restart':
        return this.#restart()
      default:
        return one satisfies never
    }
  }

  #write(one: Step & { do: 'write' }): void {
    const label = one.isPoisoned ? 'poison' : 'row'
    const names = Array.from({ length: one.rows }, () =>
      `${label} ${this.#count++} `.padEnd(one.width, '.'),
    )
    const { ended, closed } = this.calls
    const call = one.closes ? this.#running.shift() : undefined
    if (call) ended.add(call)
    const write = this.#world!.spool.write(
      (batch) => {
        for (const name of names) pushSpan(batch, name)
      },
      call ? { closes: idOf(call) } : undefined,
    )
    this.#keep(write, { names, into: this.acknowledged, or: this.refused })
    if (call) this.#keep(write, { names: [call], into: closed, or: new Set() })
  }

  /** A call begins: with a row of its own, or by a note that the next write makes durable. */
  #call(isAlone: boolean): void {
    const name = `call ${this.#count++}`
    const opens = { id: idOf(name), note: name }
    const { spool } = this.#world!
    const { opened } = this.calls
    if (isAlone) spool.open(opens)
    const row = `row ${this.#count++}`
    const write = spool.write((batch) => pushSpan(batch, row), isAlone ? undefined : { opens })
    this.#keep(write, { names: [row], into: this.acknowledged, or: this.refused })
    // A note of its own is refused in silence while writes are; then nothing is promised of it.
    this.#keep(write, { names: [name], into: opened, or: new Set() })
    this.#running.push(name)
  }

  #keep(
    write: Promise<unknown>,
    what: { names: string[]; into: Set<string>; or: Set<string> },
  ): void {
    const { disk } = this.#world!
    const keep = (into: Set<string>) => () => {
      // Answers of a process that has crashed were heard by nobody.
      if (disk === this.#world?.disk) for (const name of what.names) into.add(name)
    }
    this.#settling.push(write.then(keep(what.into), keep(what.or)))
  }

  async #crash(kind: 'kill' | 'power', seed: number): Promise<void> {
    const { spool, disk } = this.#world!
    // What settled until now was seen by its caller; what settles later, its caller never heard of.
    const next = disk.crash(kind, randomOf(seed))
    this.#world = undefined
    this.#running = []
    await spool.close(0)
    await this.#open(next)
  }

  async #restart(): Promise<void> {
    const { spool, disk } = this.#world!
    this.#running = []
    await spool.close(50)
    await this.#open(disk)
  }

  async #open(disk: MemoryDisk): Promise<void> {
    for (;;) {
      try {
        this.#aim(disk)
        this.#world = await openWorld({ disk, nowMs: () => this.#nowMs })
        break
      } catch (error) {
        // A start may fail while the disk does; the next one has to work.
        if (!/injected|pages were lost|took no bytes/.test(String(error))) throw error
      }
    }
    this.#world.spool.drainTo(async (table, body, opts) => {
      if (disk !== this.#world?.disk) throw new Error('the process is gone')
      await this.house.insert(table, body, opts)
    })
  }

  #aim(disk: MemoryDisk): void {
    disk.latency = async () => {
      for (let turns = Math.floor(this.#random() * 4); turns > 0; turns--)
        await new Promise((resolve) => setImmediate(resolve))
    }
    disk.fault = (op) => {
      const armed = this.#faults.find((fault) => fault.op === op)
      if (!armed) return undefined
      if (armed.after-- > 0) return undefined
      if (--armed.times <= 0) this.#faults.splice(this.#faults.indexOf(armed), 1)
      return armed.fault
    }
  }

  #arm(): void {
    const next = (when: 'before' | 'after') => {
      const armed = this.#houseFaults.find((fault) => fault.when === when)
      if (!armed) return false
      if (--armed.times <= 0) this.#houseFaults.splice(this.#houseFaults.indexOf(armed), 1)
      return true
    }
    this.house.before = (attempt) => {
      if (attempt.bytes.includes('poison ')) return poison()
      return next('before') ? new Error('timeout') : undefined
    }
    this.house.after = () => (next('after') ? new Error('connection reset') : undefined)
  }
}

function idOf(name: string): Buffer {
  return Buffer.from(name.padStart(16).slice(-16))
}

// About 20 ms each. Longer hunts change this number and the seed.
const runs = 100

const schedule = fc.array(step, { minLength: 1, maxLength: 40, size: 'max' })

test('what was acknowledged is stored or set aside exactly once, and what was refused is not stored', async () => {
  await fc.assert(
    fc.asyncProperty(schedule, fc.integer(), async (steps, seed) => {
      const run = new Run(seed)
      await run.play(steps)
      for (const table of ['spans', 'payloads'] as const) {
        const names = [...run.house.names(table), ...run.quarantined(table)]
        const kept = new Set(names)
        expect(names.length, 'nothing twice').toBe(kept.size)
        const missing = [...run.acknowledged].filter((name) => !kept.has(name))
        expect(missing, 'nothing lost').toEqual([])
        const resurrected = [...run.refused].filter((name) => kept.has(name))
        if (!run.hadPowerLoss) expect(resurrected, 'nothing refused and stored').toEqual([])
      }
      const { opened, ended, closed } = run.calls
      const left = new Set(run.interrupted)
      expect(run.interrupted.length, 'no call twice').toBe(left.size)
      const forgotten = [...opened].filter((name) => !ended.has(name) && !left.has(name))
      expect(forgotten, 'an open call is found').toEqual([])
      expect(
        [...closed].filter((name) => left.has(name)),
        'a closed call is not',
      ).toEqual([])
      const seqs = run.house.rows.filter((row) => row.table === 'spans').map((row) => row.seq)
      expect(new Set(seqs).size, 'no number twice').toBe(seqs.length)
    }),
    { numRuns: runs, seed: 20260917 },
  )
})
