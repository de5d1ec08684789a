// Messages still arriving over gRPC. The library gathers each whole before it shows it, so what has come is read off the
// connection: it is part of the bytes in flight, and a sender that takes too much room or too long is refused.

import type { Socket } from 'node:net'
import { Fault } from '../../schemas/faults.ts'
import type { ByteBudget, Lease } from '../body.ts'

// How often a long arrival is looked at: what one turn of the loop can receive meanwhile is the most by which the bound is missed.
const lookMs = 10
// What a message that never ended leaves in the library's hands until its stream closes. Below this it is let be; above, the
// connection is closed once its refusals have had time to leave.
const leftoverBytesMax = 1024 * 1024
const refusalMs = 1_000

export type ArrivalLimits = {
  /** Messages at once; others wait, unread, in their senders' windows. Bounds what unpacking may need beside the budget. */
  atOnceMax: number
  /** From the first byte that may come to the last. */
  deadlineMs: number
}

export type Peer = { remoteAddress?: string | undefined; remotePort?: number | undefined }

type Connection = {
  socket: Socket
  lease: Lease
  arriving: Set<Arrival>
  isEnding: boolean
}

export class Arrivals {
  readonly #budget: ByteBudget
  readonly #limits: ArrivalLimits
  readonly #connections = new Map<string, Connection>()
  readonly #waiting: (() => void)[] = []
  #count = 0
  #timer: NodeJS.Timeout | undefined

  constructor(budget: ByteBudget, limits: ArrivalLimits) {
    this.#budget = budget
    this.#limits = limits
  }

  /** Every connection, from its first moment to its last. */
  watch(socket: Socket): void {
    const name = nameOf(socket)
    const connection = {
      socket,
      lease: this.#budget.lease(),
      arriving: new Set<Arrival>(),
      isEnding: false,
    }
    this.#connections.set(name, connection)
    socket.once('close', () => {
      this.#connections.delete(name)
      connection.lease.release()
    })
  }

  /**
   * Resolves when a message may be read. Rejects with service_unavailable when there is no room; `refuse` is told so later,
   * or of a timeout, while the message arrives. The caller ends every arrival, once.
   */
  async begin(peer: Peer, refuse: (fault: Fault) => void): Promise<Arrival> {
    if (this.#budget.held >= this.#budget.bytesMax) throw noRoom()
    if (this.#count < this.#limits.atOnceMax) this.#count += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const connection = this.#connections.get(nameOf(peer))
    const arrival = new Arrival(connection?.socket.bytesRead ?? 0, refuse, (isWhole) => {
      if (connection) this.#leave(connection, arrival, isWhole)
      const next = this.#waiting.shift()
      if (next) next()
      else this.#count -= 1
    })
    connection?.arriving.add(arrival)
    this.#timer ??= setTimeout(() => this.#look(), lookMs).unref()
    return arrival
  }

  #leave(connection: Connection, arrival: Arrival, isWhole: boolean): void {
    const { socket, arriving, lease } = connection
    arriving.delete(arrival)
    if (
      !isWhole &&
      socket.bytesRead - arrival.fromByte > leftoverBytesMax &&
      !connection.isEnding
    ) {
      connection.isEnding = true
      setTimeout(() => socket.destroy(), refusalMs).unref()
    }
    if (arriving.size === 0 && !connection.isEnding) lease.release()
  }

  #look(): void {
    this.#timer = undefined
    const latest = performance.now() - this.#limits.deadlineMs
    for (const { socket, lease, arriving } of this.#connections.values()) {
      if (arriving.size === 0) continue
      let from = socket.bytesRead
      for (const arrival of arriving) {
        from = Math.min(from, arrival.fromByte)
        if (arrival.sinceMs < latest) arrival.refuse(new Fault('timeout'))
      }
      lease.release()
      try {
        lease.hold(socket.bytesRead - from)
      } catch {
        for (const arrival of arriving) arrival.refuse(noRoom())
      }
    }
    if (this.#count > 0) this.#timer = setTimeout(() => this.#look(), lookMs).unref()
  }
}

/** One message on its way. */
export class Arrival {
  readonly fromByte: number
  readonly sinceMs = performance.now()
  readonly #refuse: (fault: Fault) => void
  readonly #end: (isWhole: boolean) => void
  #isOver = false
  #isRefused = false

  constructor(fromByte: number, refuse: (fault: Fault) => void, end: (isWhole: boolean) => void) {
    this.fromByte = fromByte
    this.#refuse = refuse
    this.#end = end
  }

  refuse(fault: Fault): void {
    if (this.#isRefused) return
    this.#isRefused = true
    this.#refuse(fault)
  }

  /** It has come whole, or will not come any more. A second call changes nothing. */
  end(isWhole: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end(isWhole)
  }
}

function nameOf(peer: Peer): string {
  return `${peer.remoteAddress} ${peer.remotePort}`
}

function noRoom(): Fault {
  return new Fault('service_unavailable', { message: 'Too many large requests at once.' })
}
