// Generated traffic whose prompts, versions and variables are known, to measure discovery with. A seed gives the same calls.

import type { Observation } from '../schemas/discovery.ts'
import { pick, type Random, randomOf } from '../src/cli/seed-random.ts'

export type Mix = 'easy' | 'medium' | 'hard' | 'rollout'
export type Call = { observation: Observation; family: string; version: string }

export type TrafficOptions = {
  seed: number
  mix: Mix
  families?: number
  versions?: number
  /** Of each version. */
  requests?: number
  /** Slug and version, or the slug alone, in every call. */
  headers?: 'version' | 'slug'
}

// Requests during which a version and the next are both alive.
const overlap = 30
const startMs = Date.UTC(2026, 10, 20, 8)
const callEveryMs = 4_000
const oneOffShare = 0.08

type Part =
  | { kind: 'line'; text: string; jitter?: boolean }
  | { kind: 'optional'; text: string; chance: number }
  | { kind: 'json' }
  | { kind: 'documents'; pool: string[] }
  | { kind: 'shots'; pool: string[] }

type Prompt = { name: string; versions: Part[][]; whitespace: boolean; rollout: number | undefined }

/** The calls of all families, mixed, in time. */
export function makeTraffic(options: TrafficOptions): Call[] {
  const random = randomOf(options.seed * 7_919 + 17)
  const prompts = makePrompts(random, options)
  const queues = prompts.map((prompt) => schedule(random, prompt, options.requests ?? 150))
  const calls: Call[] = []
  const total = queues.reduce((sum, queue) => sum + queue.length, 0)
  const withOneOffs = options.mix === 'hard' || options.mix === 'rollout'
  for (let left = total; left > 0; ) {
    const atMs = startMs + calls.length * callEveryMs
    if (withOneOffs && random() < oneOffShare) {
      calls.push(oneOff(random, calls.length, atMs))
      continue
    }
    let turn = Math.floor(random() * left)
    const at = queues.findIndex((queue) => {
      turn -= queue.length
      return turn < 0
    })
    left--
    const version = queues[at]!.shift()!
    const prompt = prompts[at]!
    const text = fill(random, { prompt, parts: prompt.versions[version]!, atMs })
    calls.push({
      family: prompt.name,
      version: `${prompt.name}@v${version + 1}`,
      observation: {
        workspace: 'w1',
        ref: `r${calls.length}`,
        atMs,
        user: `user-${Math.floor(random() * 60)}`,
        messages: [
          { role: 'system', content: text },
          { role: 'user', content: sentence(random) },
        ],
        ...(options.headers ? { slug: prompt.name } : {}),
        ...(options.headers === 'version' ? { version: `v${version + 1}` } : {}),
      },
    })
  }
  return calls
}

function schedule(random: Random, prompt: Prompt, requests: number): number[] {
  const order: number[] = []
  prompt.versions.forEach((_, version) => {
    for (let i = 0; i < requests; i++) order.push(version)
  })
  if (prompt.rollout !== undefined) {
    // The second version beside the first for as long as both last, at a steady share; then the third alone.
    const [first, second] = [
      requests,
      Math.round((requests * prompt.rollout) / (1 - prompt.rollout)),
    ]
    const alone = Math.round(requests / 2)
    const both = [...Array(first).fill(0), ...Array(Math.min(second, first)).fill(1)]
    return [...Array(alone).fill(0), ...shuffle(random, both), ...Array(requests).fill(2)].filter(
      (version) => version < prompt.versions.length,
    )
  }
  for (let version = 1; version < prompt.versions.length; version++) {
    const from = version * requests - overlap / 2
    const mixed = shuffle(random, order.slice(from, from + overlap))
    order.splice(from, overlap, ...mixed)
  }
  return order
}

function shuffle<T>(random: Random, list: T[]): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const [a, b] = [list[i] as T, list[j] as T] // both inside
    list[i] = b
    list[j] = a
  }
  return list
}

function makePrompts(random: Random, options: TrafficOptions): Prompt[] {
  const { mix } = options
  const count = options.families ?? 12
  const boilerplate = sentences(random, 5)
  const preamble = sentences(random, 4)
  return Array.from({ length: count }, (_, i) => {
    const lines = 6 + Math.floor(random() * 25)
    const isMessy = mix === 'hard' || mix === 'rollout'
    const parts: Part[] = [
      {
        kind: 'line',
        text: `You are the ${pick(random, nouns)} ${pick(random, roles)} of ${pick(random, brands)}.`,
      },
      ...sentences(random, lines).map((text): Part => ({ kind: 'line', text })),
    ]
    if (mix !== 'easy') addVariables(random, parts)
    if (isMessy) addMess(random, parts)
    if (isMessy && i % 2 === 0)
      parts.push(...boilerplate.map((text): Part => ({ kind: 'line', text })))
    // Two families begin with the same paragraph.
    if (isMessy && i < 2) parts.unshift(...preamble.map((text): Part => ({ kind: 'line', text })))
    const versions = [parts]
    for (let v = 1; v < (options.versions ?? 3); v++) versions.push(edit(random, versions[v - 1]!))
    return {
      name: `family-${i}`,
      versions,
      whitespace: isMessy && i % 4 === 3,
      rollout: mix === 'rollout' && i % 2 === 0 ? pick(random, [0.05, 0.1, 0.5]) : undefined,
    }
  })
}

function insert(random: Random, parts: Part[], part: Part): void {
  parts.splice(1 + Math.floor(random() * parts.length), 0, part)
}

function addVariables(random: Random, parts: Part[]): void {
  for (const text of shuffle(random, [...inlineLines]).slice(0, 3))
    insert(random, parts, { kind: 'line', text: text.replace('%', pick(random, nouns)) })
  insert(random, parts, { kind: 'optional', text: sentence(random), chance: 0.3 })
}

function addMess(random: Random, parts: Part[]): void {
  insert(random, parts, { kind: 'line', text: 'Answer in {language}, with prices in {currency}.' })
  insert(random, parts, { kind: 'json' })
  if (random() < 0.5) insert(random, parts, { kind: 'shots', pool: sentences(random, 12) })
  insert(random, parts, {
    kind: 'documents',
    pool: Array.from({ length: 40 }, () => paragraph(random)),
  })
}

/** From one word to three lines: replaced, added, taken away, a number, a "not". */
function edit(random: Random, parts: Part[]): Part[] {
  const next = [...parts]
  const lines = next.flatMap((part, i) => (part.kind === 'line' ? [i] : []))
  const at = pick(random, lines)
  const line = next[at] as Part & { kind: 'line' } // lines lists only these
  const words = line.text.split(' ')
  const kind = Math.floor(random() * 6)
  const plain = words.flatMap((word, i) => (/[{}%]/.test(word) ? [] : [i]))
  if (kind === 0) words[pick(random, plain)] = `${pick(random, nouns)}wise`
  else if (kind === 1)
    words.splice(pick(random, plain), 0, pick(random, ['not', 'never', 'always', 'only']))
  else if (kind === 2) words.splice(pick(random, plain), 1, `${2 + Math.floor(random() * 90)}`)
  if (kind <= 2) {
    const text = words.join(' ')
    next[at] = { kind: 'line', text: text === line.text ? `${text} Be brief.` : text }
    return next
  }
  const some = 1 + Math.floor(random() * 3)
  const fresh = () => sentences(random, some).map((text): Part => ({ kind: 'line', text }))
  if (kind === 3) next.splice(at, 0, ...fresh())
  else if (kind === 4) {
    // Never so many that another prompt is left.
    const gone = shuffle(random, lines.slice()).slice(0, Math.min(some, lines.length - 4))
    return next.filter((_, i) => !gone.includes(i))
  } else
    for (const [i, part] of fresh().entries())
      next[lines[(lines.indexOf(at) + i) % lines.length]!] = part
  return next
}

function fill(random: Random, given: { prompt: Prompt; parts: Part[]; atMs: number }): string {
  const person = { name: personName(random), city: pick(random, cities) }
  const lines = given.parts.flatMap((part): string[] => {
    switch (part.kind) {
      case 'line':
        return [fillLine(random, { text: part.text, person, atMs: given.atMs })]
      case 'optional':
        return random() < part.chance ? [part.text] : []
      case 'json':
        return [
          JSON.stringify({
            customer: person.name,
            plan: pick(random, ['free', 'plus', 'business']),
            orders: Math.floor(random() * 40),
            notes: random() < 0.5 ? sentence(random) : null,
          }),
        ]
      case 'documents':
        return Array.from({ length: Math.floor(random() * 9) }, () =>
          random() < 0.6
            ? part.pool[Math.floor(random() ** 2 * part.pool.length)]!
            : paragraph(random),
        )
      case 'shots':
        return shuffle(random, [...part.pool])
          .slice(0, 3)
          .flatMap((text) => [`Q: ${text}`, `A: ${sentence(random)}`])
    }
    return part satisfies never
  })
  if (!given.prompt.whitespace || random() < 0.7) return lines.join('\n')
  const change = Math.floor(random() * 3)
  if (change === 0) return lines.join('\r\n')
  return change === 1 ? lines.join('\n\n') : lines.map((line) => `${line}  `).join('\n')
}

function fillLine(
  random: Random,
  given: { text: string; person: { name: string; city: string }; atMs: number },
): string {
  if (!given.text.includes('{')) return given.text
  const day = new Date(given.atMs + Math.floor(random() * 1e9))
  const values: Record<string, () => string> = {
    name: () => given.person.name,
    city: () => given.person.city,
    date: () => (random() < 0.5 ? day.toISOString().slice(0, 10) : day.toUTCString().slice(0, 16)),
    id: () => `ORD-${10_000 + Math.floor(random() * 90_000)}`,
    language: () => pick(random, ['English', 'German', 'French', 'Spanish', 'Japanese']),
    currency: () => pick(random, ['EUR', 'USD', 'JPY']),
    count: () => `${Math.floor(random() * 30)}`,
  }
  return given.text.replaceAll(/\{(\w+)\}/g, (_, key: string) => values[key]?.() ?? key)
}

function oneOff(random: Random, n: number, atMs: number): Call {
  const content = Array.from({ length: 1 + Math.floor(random() * 6) }, () => freeText(random)).join(
    '\n',
  )
  return {
    family: `one-off-${n}`,
    version: `one-off-${n}`,
    observation: {
      workspace: 'w1',
      ref: `r${n}`,
      atMs,
      user: `user-${Math.floor(random() * 60)}`,
      messages: [{ role: random() < 0.5 ? 'system' : 'user', content }],
    },
  }
}

// People's own words: few sentences twice, though many begin alike.
function freeText(random: Random): string {
  const words = Array.from({ length: 5 + Math.floor(random() * 25) }, () =>
    random() < 0.3
      ? pick(random, nouns)
      : Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(random, syllables)).join(
          '',
        ),
  )
  return `${random() < 0.3 ? `${pick(random, openers)} ` : ''}${words.join(' ')}.`
}
const syllables = 'ka lo mi ter su ran del vo pi ne sha tor bel qui das fen gro hul'.split(' ')
const openers = [
  'Can you help me with',
  'What is the best way to',
  'You are a helpful assistant.',
  'Write a short story about',
]

const inlineLines = [
  'You are talking to {name}, a customer from {city} who asks about the %.',
  'Today is {date}.',
  'Customer: {name}',
  'The order {id} of {name} was placed on {date} and is about the %.',
  'There are {count} open tickets for the % of this customer.',
  'When you write the letter, sign it for {name} and mention the % once.',
]
const nouns =
  'invoice parcel contract refund warranty booking ticket policy account payment schedule report delivery subscription catalogue claim ledger permit sample shipment'.split(
    ' ',
  )
const roles =
  'assistant agent advisor reviewer translator planner analyst tutor editor clerk'.split(' ')
const brands = 'Northwind Contoso Fabrikam Tailspin Litware Wingtip Adatum Proseware'.split(' ')
const verbs =
  'check confirm summarise translate refuse explain compare escalate record repeat quote estimate verify classify correct'.split(
    ' ',
  )
const adjectives =
  'short polite exact recent open local private signed urgent disputed foreign late damaged formal partial'.split(
    ' ',
  )
const places =
  'first line|last paragraph|subject|table|summary|footer|answer|second step|header|margin'.split(
    '|',
  )
const reasons =
  'the customer asks for it|a number is missing|the amount is above the limit|two sources disagree|the tone is angry|the language is unclear|the date has passed|a manager is named|the law requires it|nothing else helps'.split(
    '|',
  )
const cities = 'Oslo|New York|Porto|Ulm|Rio de Janeiro|Kyoto|Leeds|San Sebastian'.split('|')
const firstNames =
  'Anna Bo Carla Deniz Emil Farah Goran Hana Ivo Jun Karin Luis Mei Nils Olga Pia'.split(' ')
const lastNames =
  'Berg|Costa|de Souza|Fischer|Garcia Lopez|Haddad|Ito|Jensen|Kim|van der Meer|Novak|Ozturk|Rossi|Smith'.split(
    '|',
  )

function personName(random: Random): string {
  return `${pick(random, firstNames)} ${pick(random, lastNames)}`
}

function sentence(random: Random): string {
  const [verb, other] = [pick(random, verbs), pick(random, verbs)]
  const thing = `${pick(random, adjectives)} ${pick(random, nouns)}`
  const another = `${pick(random, adjectives)} ${pick(random, nouns)}`
  const forms = [
    `Always ${verb} the ${thing} before you ${other} the ${another}.`,
    `If ${pick(random, reasons)}, ${verb} the ${thing} in the ${pick(random, places)}.`,
    `Do not ${verb} more than ${2 + Math.floor(random() * 8)} items of the ${thing} unless ${pick(random, reasons)}.`,
    `Put the ${thing} in the ${pick(random, places)} and ${verb} it when ${pick(random, reasons)}.`,
    `- ${verb} the ${thing}, then ${other} the ${another} (${pick(random, places)}).`,
    `When ${pick(random, reasons)}, never ${verb} a ${thing}; ${other} it instead.`,
  ]
  return pick(random, forms)
}

function sentences(random: Random, count: number): string[] {
  return Array.from({ length: count }, () => sentence(random))
}

function paragraph(random: Random): string {
  return sentences(random, 1 + Math.floor(random() * 3)).join(' ')
}

/** Precision, recall and F1 over all pairs of calls: together when both say so. */
export function pairScore(
  truth: readonly string[],
  found: readonly string[],
): { precision: number; recall: number; f1: number } {
  const pairs = (keys: readonly string[]) => {
    const counts = new Map<string, number>()
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
    let sum = 0
    for (const n of counts.values()) sum += (n * (n - 1)) / 2
    return sum
  }
  const both = pairs(truth.map((key, i) => `${key}\n${found[i]}`))
  const precision = both / (pairs(found) || 1)
  const recall = both / (pairs(truth) || 1)
  return { precision, recall, f1: both === 0 ? 0 : (2 * precision * recall) / (precision + recall) }
}
