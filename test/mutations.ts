// Answers as prompts give them, and what can happen to them: changes that hurt a reader and changes that do not.

import type { Expectations, ReplayOutput } from '../schemas/experiment.ts'

export type Answer = { output: ReplayOutput; expectations: Expectations }

export type Mutation = {
  name: string
  isCritical: boolean
  /** The same output where it does not apply. */
  apply(output: ReplayOutput): ReplayOutput
}

const schema = {
  type: 'object',
  properties: {
    approve: { type: 'boolean' },
    amount: { type: 'number' },
    currency: { enum: ['USD', 'EUR'] },
    order_id: { type: 'string' },
    note: { type: 'string' },
  },
  required: ['approve', 'amount', 'currency', 'order_id'],
  additionalProperties: false,
}

const text = (words: string): Answer => ({
  output: { text: words, toolCalls: [], finishReason: 'stop' },
  expectations: {},
})
const json = (value: object): Answer => ({
  output: { text: JSON.stringify(value), toolCalls: [], finishReason: 'stop' },
  expectations: { schema },
})
const call = (name: string, args: object): Answer => ({
  output: {
    text: '',
    toolCalls: [{ name, arguments: JSON.stringify(args) }],
    finishReason: 'tool_calls',
  },
  expectations: {},
})

export const answers: readonly Answer[] = [
  text(
    'Thanks for writing to us. Your refund of $149.00 for order 10-48213 was approved and will reach your card within 5 business days. You can follow it at https://shop.example/orders/10-48213. Please reply to this message if it is late on March 14, 2026.',
  ),
  text(
    'Take 500 mg of the medicine 2 times a day with food, for at most 7 days. Do not drink alcohol while you take it. Call your doctor at once if the fever is above 39.5 °C. Please keep the box out of the reach of children.',
  ),
  text(
    'You can raise the limit in the settings file. Please add these lines and restart the server:\n\n```json\n{ "max_connections": 200 }\n```\n\nThe change is active after 30 seconds. Your plan allows up to 1,000 connections, and it is safe to use all of them.',
  ),
  text(
    'Your order A-77120 was sent on 2026-03-02 and is with the carrier. Please follow these steps:\n1. Open the email from the carrier.\n2. Choose a time between 9:00 and 17:00.\n3. Keep your passport ready.\nThe parcel will wait for 10 days, and storage is free. We cannot change the address any more.',
  ),
  text(
    'The contract runs for 24 months and renews by itself for 12 months. You can cancel it 30 days before the end, in writing, to legal@example.com. The fee for an early end is 80 EUR. It will be taken from your deposit. "Written" means a letter or an email.',
  ),
  json({
    approve: true,
    amount: 149,
    currency: 'USD',
    order_id: '10-48213',
    note: 'Paid by card, the parcel was lost on the way.',
  }),
  json({
    approve: false,
    amount: 20.5,
    currency: 'EUR',
    order_id: 'A-77120',
    note: 'Outside the period of 30 days.',
  }),
  call('refund_order', { order_id: '10-48213', amount: 149, notify: true }),
  call('search_flights', { from: 'BER', to: 'LIS', date: '2026-05-04', adults: 2 }),
  text('billing'),
  text('Yes, your plan includes phone support. It is open on 7 days a week.'),
]

const onText =
  (change: (text: string) => string) =>
  (output: ReplayOutput): ReplayOutput =>
    output.text === '' ? output : { ...output, text: change(output.text) }
const onProse = (change: (text: string) => string) =>
  onText((words) => (/^\{/.test(words) || !words.includes(' ') ? words : change(words)))
const onJson = (change: (value: Record<string, unknown>) => unknown) =>
  onText((words) => (/^\{/.test(words) ? JSON.stringify(change(JSON.parse(words))) : words))
const onArguments =
  (change: (args: Record<string, unknown>) => unknown) =>
  (output: ReplayOutput): ReplayOutput => ({
    ...output,
    toolCalls: output.toolCalls.map((one) => ({
      ...one,
      arguments: JSON.stringify(change(JSON.parse(one.arguments))),
    })),
  })
const without = (value: Record<string, unknown>, key: string) =>
  Object.fromEntries(Object.entries(value).filter(([name]) => name !== key))
const reversed = (value: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(value).reverse())

const german =
  'Vielen Dank für Ihre Nachricht. Ihre Bestellung ist auf dem Weg und wird in den nächsten Tagen bei Ihnen sein. Sie können den Stand mit der Nummer in der Mail prüfen.'

const critical: [string, Mutation['apply']][] = [
  [
    'negation added',
    onProse((words) =>
      words.replace(/\b(was approved|is safe|is free|will be|includes|is active|can)\b/, (found) =>
        `${found.split(' ')[0]} not ${found.split(' ')[1] ?? ''}`.trim(),
      ),
    ),
  ],
  [
    'negation dropped',
    onProse((words) => words.replace('Do not drink', 'Do drink').replace('cannot', 'can')),
  ],
  [
    'number wrong',
    onProse((words) =>
      words.replace(
        /\b(\d)(\d*) (business days|mg|seconds|days|months)/,
        (_, head, tail, unit) => `${(Number(head) % 9) + 1}${tail} ${unit}`,
      ),
    ),
  ],
  [
    'unit wrong',
    onProse((words) =>
      words
        .replace(' mg', ' g')
        .replace('business days', 'business weeks')
        .replace('30 seconds', '30 minutes')
        .replace('24 months', '24 weeks'),
    ),
  ],
  ['currency wrong', onProse((words) => words.replace('$149', '€149').replace('80 EUR', '80 USD'))],
  [
    'decimal point moved',
    onProse((words) =>
      words.replace('$149.00', '$1490.0').replace('39.5', '3.95').replace('1,000', '10,000'),
    ),
  ],
  [
    'order id wrong',
    onProse((words) => words.replace('10-48213 was', '10-48231 was').replace('A-77120', 'A-77210')),
  ],
  [
    'date wrong',
    onProse((words) => words.replace('March 14', 'March 24').replace('2026-03-02', '2026-02-03')),
  ],
  [
    'address wrong',
    onProse((words) =>
      words.replace('shop.example/orders', 'shop.example/refunds').replace('legal@', 'sales@'),
    ),
  ],
  ['code wrong', onProse((words) => words.replace('max_connections', 'min_connections'))],
  [
    'sentence with a value dropped',
    onProse((words) => words.replace(/(?<=\. )[^.\n]*\d[^.\n]*\.(?= |$)/, '')),
  ],
  ['refusal', onText(() => "I'm sorry, but I can't help with that request.")],
  ['language switched', onProse((words) => (words.length > 100 ? german : words))],
  [
    'cut off',
    (output) =>
      output.text.length > 60
        ? { ...output, text: output.text.slice(0, -30), finishReason: 'length' }
        : output,
  ],
  ['secret leaked', onProse((words) => `${words} Our key is sk-proj-4fQ9xZk2Lm8Tn3Vb7Yc1Wd6R.`)],
  ['label wrong', onText((words) => (words === 'billing' ? 'technical' : words))],
  ['JSON broken', onText((words) => (/^\{/.test(words) ? words.slice(0, -1) : words))],
  ['JSON field renamed', onJson((value) => ({ ...without(value, 'amount'), total: value.amount }))],
  ['JSON boolean flipped', onJson((value) => ({ ...value, approve: !value.approve }))],
  ['JSON amount wrong', onJson((value) => ({ ...value, amount: Number(value.amount) * 10 }))],
  [
    'JSON enum wrong',
    onJson((value) => ({ ...value, currency: value.currency === 'USD' ? 'EUR' : 'USD' })),
  ],
  ['tool argument dropped', onArguments((args) => without(args, Object.keys(args).at(-1)!))],
  [
    'tool argument wrong',
    onArguments((args) => ({
      ...args,
      ...('amount' in args ? { amount: 1490 } : { date: '2026-04-05' }),
    })),
  ],
  [
    'wrong tool',
    (output) => ({
      ...output,
      toolCalls: output.toolCalls.map((one) => ({ ...one, name: `${one.name}_v2` })),
    }),
  ],
  [
    'call left out',
    (output) =>
      output.toolCalls.length === 0
        ? output
        : { ...output, toolCalls: [], text: 'I will take care of it.' },
  ],
]

const harmless: [string, Mutation['apply']][] = [
  ['white space', onProse((words) => words.replaceAll('. ', '.  ').replaceAll(', ', ',\n'))],
  [
    'sentences reordered',
    onProse((words) =>
      words.includes('\n')
        ? words
        : words
            .split(/(?<=\.) /)
            .reverse()
            .join(' '),
    ),
  ],
  ['paraphrase', onProse((words) => paraphrase(words))],
  [
    'disclaimer added',
    onProse((words) => `${words} This is general information and not legal or medical advice.`),
  ],
  [
    'courtesy added',
    onProse((words) => `Of course! ${words} Let me know if there is anything else.`),
  ],
  [
    'courtesy dropped',
    onProse((words) =>
      words
        .replace('Thanks for writing to us. ', '')
        .replaceAll('Please f', 'F')
        .replaceAll('Please k', 'K'),
    ),
  ],
  [
    'bold type',
    onProse((words) => words.replace(/(\$149\.00|500 mg|30 seconds|10 days|24 months)/, '**$1**')),
  ],
  ['typographic quotes', onProse((words) => words.replaceAll(/"([^"\n]+)"(?!:)/g, '“$1”'))],
  ['contractions', onProse((words) => words.replace('Do not', "Don't").replace('cannot', "can't"))],
  [
    'number spelled otherwise',
    onProse((words) =>
      words
        .replace('$149.00', '$149')
        .replace('1,000', '1000')
        .replace('2 times', 'two times')
        .replace('80 EUR', '€80'),
    ),
  ],
  [
    'date spelled otherwise',
    onProse((words) =>
      words.replace('March 14, 2026', '14 March 2026').replace('2026-03-02', 'March 2, 2026'),
    ),
  ],
  ['bullets for numbers', onProse((words) => words.replaceAll(/^\d\. /gm, '- '))],
  [
    'code in backticks',
    onProse((words) =>
      words.replace('settings file', '`settings file`').replace('10-48213 was', '`10-48213` was'),
    ),
  ],
  ['JSON keys reordered', onJson(reversed)],
  [
    'JSON indented',
    onText((words) => (/^\{/.test(words) ? JSON.stringify(JSON.parse(words), null, 2) : words)),
  ],
  [
    'JSON in a fence',
    onText((words) => (/^\{/.test(words) ? `\`\`\`json\n${words}\n\`\`\`` : words)),
  ],
  ['tool arguments reordered', onArguments(reversed)],
  ['label capitalised', onText((words) => (words === 'billing' ? 'Billing.' : words))],
]

export const mutations: readonly Mutation[] = [
  ...critical.map(([name, apply]) => ({ name, isCritical: true, apply })),
  ...harmless.map(([name, apply]) => ({ name, isCritical: false, apply })),
]

/** Other words for the same: what a second call of one prompt says. */
export function paraphrase(words: string): string {
  const others: [RegExp, string][] = [
    [/Thanks for writing to us/, 'Thank you for getting in touch'],
    [/will reach your card/, 'should be on your card'],
    [/You can follow it at/, 'Its progress is shown at'],
    [/if it is late on/, 'should it be late on'],
    [/Call your doctor at once/, 'Phone your doctor immediately'],
    [/keep the box out of the reach of/, 'store the box away from'],
    [/raise the limit/, 'increase the limit'],
    [/is active after/, 'takes effect after'],
    [/was sent on/, 'left us on'],
    [/The parcel will wait for/, 'It is kept for'],
    [/renews by itself for/, 'is extended automatically by'],
    [/The fee for an early end is/, 'Ending it early costs'],
    [/phone support/, 'support by phone'],
  ]
  return others.reduce((changed, [from, to]) => changed.replace(from, to), words)
}

export function isChanged(mutation: Mutation, output: ReplayOutput): boolean {
  return JSON.stringify(mutation.apply(output)) !== JSON.stringify(output)
}
