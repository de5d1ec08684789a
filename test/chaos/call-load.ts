// Numbered calls at a fixed rate, JSON and streams, and the upstream that answers them: a number says what its call costs, so that
// a cost that was lost, doubled or guessed shows.

import { Agent, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { answerOf } from '../money-world.ts'
import { chunk, delta, doneEvent, json, type ScriptedUpstream, sse } from '../upstream.ts'

// Calls beyond these under way are not made; the rate is then what the product takes.
const underWayMax = 256

/** A call whose last byte came, and what its caller was shown. */
export type Answered = {
  number: number
  record: string
  /** Of the final record. */
  signature: string
  /** Of a stream: the one its head showed. */
  opening: string | undefined
}

export type Sender = {
  /** By run id. */
  answered: Map<string, Answered>
  /** Statuses other than 200, each with what it said. */
  refused: Map<string, number>
  next: number
}

const usageOf = (number: number) => ({ input: 10 + (number % 40), output: 5 + (number % 31) })

/** Cents, by the price of money-world.ts: 1000 nano-USD a token in, 2000 out. */
export function costOf(number: number): number {
  const { input, output } = usageOf(number)
  return (input + 2 * output) / 10_000
}

/** Answers each call by its number: every other one as a stream, some of them late, some in the middle. */
export function playNumbered(upstream: ScriptedUpstream): void {
  upstream.play(async (res, seen) => {
    const number = Number(/Call (\d+)/.exec(seen.body.toString())?.[1])
    const { input, output } = usageOf(number)
    if (number % 5 === 0) await wait(number % 90)
    if (number % 2 === 0) return json(answerOf(input, output))(res, seen)
    const usage = {
      prompt_tokens: input,
      completion_tokens: output,
      total_tokens: input + output,
    }
    const events = [
      delta({ role: 'assistant', content: 'Hello' }),
      delta({ content: ` ${number}` }, 'stop'),
      chunk([], { usage }),
      doneEvent,
    ]
    await sse(number % 3 === 0 ? events : [events.join('')])(res, seen)
  })
}

/** Calls at their times until it is stopped, or the product is gone; the keys in turn. `over`: when none is under way. */
export function sendAtRate(
  url: string,
  sender: Sender,
  how: { perSecond: number; keys: readonly string[] },
): { over: Promise<void>; stop(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: underWayMax })
  const state = { isOver: false, underWay: 0 }
  const sendOne = async () => {
    const number = sender.next++
    state.underWay += 1
    const key = how.keys[(number >> 1) % how.keys.length] ?? ''
    // A connection that breaks is the kill: nobody is left to ask.
    if (!(await ask(url, sender, { agent, key, number }))) state.isOver = true
    state.underWay -= 1
  }
  const run = async () => {
    const startedAt = performance.now()
    const sent: Promise<void>[] = []
    for (let due = 0; !state.isOver; await wait(1)) {
      const now = performance.now() - startedAt
      for (; (due * 1000) / how.perSecond <= now && !state.isOver; due++)
        if (state.underWay < underWayMax) sent.push(sendOne())
    }
    await Promise.all(sent)
    agent.destroy()
  }
  return {
    over: run(),
    stop() {
      state.isOver = true
    },
  }
}

/** False when the connection broke before the answer was whole. */
function ask(
  url: string,
  sender: Sender,
  { agent, key, number }: { agent: Agent; key: string; number: number },
): Promise<boolean> {
  const body = JSON.stringify({
    model: 'priced',
    max_tokens: 50,
    stream: number % 2 === 1,
    messages: [{ role: 'user', content: `Call ${number}` }],
  })
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Authorization: `Bearer ${key}`,
  }
  return new Promise((resolve) => {
    const options = { agent, method: 'POST', headers }
    const asked = request(`${url}/v1/chat/completions`, options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece) => {
        text += piece
      })
      response.on('error', () => {})
      response.on('close', () => {
        const status = response.statusCode ?? 0
        // A stream has said all once it has said so, whatever becomes of its connection.
        const isWhole = number % 2 === 1 ? text.endsWith(doneEvent) : response.complete
        if (status === 200 && isWhole) note(sender, { number, text, shown: response.headers })
        else if (response.complete && status !== 200) {
          const why = `${status} ${/"message":"([^"]*)/.exec(text)?.[1]}`
          sender.refused.set(why, (sender.refused.get(why) ?? 0) + 1)
        }
        resolve(response.complete)
      })
    })
    asked.on('error', () => resolve(false))
    asked.end(body)
  })
}

function note(
  sender: Sender,
  answer: { number: number; text: string; shown: NodeJS.Dict<string | string[]> },
): void {
  const { number, text, shown } = answer
  const inHead = String(shown['x-vaas-signature'])
  const inStream = /^: vaas .*"signature":"([^"]+)"/m.exec(text)?.[1]
  sender.answered.set(String(shown['x-batchin-run-id']), {
    number,
    record: String(shown['x-vaas-record-id']),
    signature: number % 2 === 1 ? String(inStream) : inHead,
    opening: number % 2 === 1 ? inHead : undefined,
  })
}
