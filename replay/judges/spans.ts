// The spans of a text that must not change unnoticed: numbers with their units, money, dates and times, ids, URLs, code.
// Each has one spelling, so that 1,000 and 1000, $5.00 and 5 USD, 4 March 2026 and 2026-03-04 are no difference.

export type SpanKind = 'code' | 'url' | 'email' | 'date' | 'money' | 'id' | 'number'
export type Span = { kind: SpanKind; value: string }

/** Longer answers are read to here: eight megabytes would hold the process for a minute. */
export const textMax = 40_000

const numerals = [
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
]
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const monthWord =
  '(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)'
const amount = '(\\d[\\d,]{0,30}(?:\\.\\d{1,30})?)'
const currency = '([$€£¥₹]|(?:US[D$]|EUR|GBP|JPY|CNY|CHF|INR|AUD|CAD)\\b)'
const currencyAfter =
  '([€£¥₹]|(?:USD|EUR|GBP|JPY|CNY|CHF|INR|AUD|CAD|dollars?|euros?|pounds?|yen)\\b)'
const currencies: Record<string, string> = {
  $: 'USD',
  us$: 'USD',
  dollar: 'USD',
  dollars: 'USD',
  '€': 'EUR',
  euro: 'EUR',
  euros: 'EUR',
  '£': 'GBP',
  pound: 'GBP',
  pounds: 'GBP',
  '¥': 'JPY',
  yen: 'JPY',
  '₹': 'INR',
}
const units =
  '%|percent|ms|sec(?:ond)?s?|min(?:ute)?s?|h(?:ou)?rs?|days?|weeks?|months?|years?|kg|mg|mcg|µg|g|lbs?|oz|km|cm|mm|mi(?:les?)?|ml|l|[kmgt]i?b|[kmg]?hz|k?wh?|°[cf]|x'

type Rule = { kind: SpanKind; pattern: RegExp; toValue(match: string[]): string }

/** In this order; what one rule took, the next does not see. The text is a model's: repeats are bounded, none is nested. */
const rules: readonly Rule[] = [
  {
    kind: 'code',
    pattern: /```[^\n`]{0,40}\n([\s\S]*?)```/g,
    toValue: ([, code]) => squeeze(code),
  },
  { kind: 'code', pattern: /`([^`\n]{1,200})`/g, toValue: ([, code]) => squeeze(code) },
  {
    kind: 'url',
    pattern: /\b(?:https?|ftp):\/\/[^\s<>()"'`\]]+/gi,
    toValue: ([url]) => (url ?? '').replace(/[.,;:!?*_]+$/, ''),
  },
  {
    kind: 'email',
    pattern: /(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}/g,
    toValue: ([email]) => (email ?? '').toLowerCase(),
  },
  {
    kind: 'date',
    pattern: /(?<!\d)(\d{4})-(\d{2})-(\d{2})(T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?(?!\d)/g,
    toValue: ([, year, month, day, time]) => `${year}-${month}-${day}${time ?? ''}`,
  },
  {
    kind: 'date',
    pattern: new RegExp(
      `\\b${monthWord}\\.? (\\d{1,2})(?:st|nd|rd|th)?\\b(?:,? (\\d{4})\\b)?`,
      'g',
    ),
    toValue: ([, month, day, year]) => toDate(year, month, day),
  },
  {
    kind: 'date',
    pattern: new RegExp(
      `\\b(\\d{1,2})(?:st|nd|rd|th)?(?: of)? ${monthWord}\\b\\.?(?:,? (\\d{4})\\b)?`,
      'g',
    ),
    toValue: ([, day, month, year]) => toDate(year, month, day),
  },
  {
    kind: 'date',
    pattern: /(?<![\d/.])\d{1,2}[/.]\d{1,2}[/.]\d{2,4}(?![\d/])/g,
    toValue: ([date]) => date ?? '',
  },
  {
    kind: 'date',
    pattern:
      /(?<![\d:.,])(\d{1,2})(:\d{2}(?::\d{2})?)?(?: ?([ap])\.?m\b\.?)|(?<![\d:])(\d{1,2}:\d{2}(?::\d{2})?)/gi,
    toValue: ([, hour, rest, half, plain]) =>
      plain ?? `${hour}${rest ?? ':00'}${half?.toLowerCase()}m`,
  },
  {
    kind: 'date',
    pattern: /\b(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b/g,
    toValue: ([, day]) => (day ?? '').slice(0, 3),
  },
  // Versions and network addresses: more than one dot, so no number.
  {
    kind: 'id',
    pattern: /(?<![\w.])\d{1,5}(?:\.\d{1,5}){2,5}(?![\w])/g,
    toValue: ([id]) => id ?? '',
  },
  {
    kind: 'money',
    pattern: new RegExp(
      `((?<!\\w)-)?${currency} ?(-?)${amount}(?: ?(k|m|bn?|million|billion)\\b)?`,
      'gi',
    ),
    toValue: ([, outer, sign, inner, value, scale]) =>
      `${outer ?? inner}${toMoney(sign, value, scale)}`,
  },
  {
    kind: 'money',
    pattern: new RegExp(
      `(?<![\\w.]-?)(-?)${amount} ?(?:(k|m|bn?|million|billion) )?${currencyAfter}`,
      'gi',
    ),
    toValue: ([, minus, value, scale, sign]) => `${minus}${toMoney(sign, value, scale)}`,
  },
  { kind: 'id', pattern: /#\w[\w-]*/g, toValue: ([id]) => (id ?? '').slice(1) },
  {
    kind: 'number',
    pattern: new RegExp(
      `(?<![\\w.,]-?)([-+]?)${amount}(?:[ -]?((?:(?:business|working|calendar) )?(?:${units}))(?![\\w]))?(?![\\w-]{0,60}\\w)`,
      'gi',
    ),
    toValue: ([, sign, value, unit]) =>
      `${sign === '-' ? '-' : ''}${toNumber(value)}${toUnit(unit)}`,
  },
  // A word with a digit in it, as order, model and flight numbers are; ordinals are numbers.
  {
    kind: 'id',
    pattern: /(?<![\w-])(?=[\w-]{0,60}\d)\w[\w-]{1,60}/g,
    toValue: ([id]) => (id ?? '').replace(/^(\d+)(?:st|nd|rd|th)$/, '$1'),
  },
]

/** In no particular order; a value that stands twice is listed twice. */
export function spansOf(given: string): Span[] {
  const spans: Span[] = []
  let text = prepare(given.slice(0, textMax))
  for (const { kind, pattern, toValue } of rules) {
    // Fences are lines; to everything else a line break is a space.
    if (pattern !== rules[0]?.pattern) text = text.replaceAll(/\s+/g, ' ')
    text = text.replaceAll(pattern, (...match: unknown[]) => {
      // The groups come before the offset, which is the first number.
      const groups = match.slice(
        0,
        match.findIndex((part) => typeof part === 'number'),
      )
      spans.push({ kind, value: toValue(groups as string[]) }) // a group is a string, or undefined
      return ' ; '
    })
  }
  return spans
}

/** Line breaks stay: fences and list markers need them. A list's own numbers say nothing. */
function prepare(text: string): string {
  return (
    text
      .normalize('NFC')
      .replaceAll(/[‐‑‒–—−]/g, '-')
      .replaceAll(/[\u00a0\u202f\u2009]/g, ' ')
      // One word in backticks is typography: whatever it is, it is that without them too.
      .replaceAll(/`([^`\s]{1,80})`/g, '$1')
      .replaceAll(/^[ \t]*\d{1,2}[.)][ \t]+|\bstep \d{1,2}[:.)]/gim, '')
      .replaceAll(new RegExp(`\\b(${numerals.join('|')})\\b`, 'gi'), (word) =>
        String(numerals.indexOf(word.toLowerCase()) + 2),
      )
  )
}

function squeeze(text: string | undefined): string {
  return (text ?? '').replaceAll(/\s+/g, ' ').trim()
}

function toDate(year: string | undefined, month: string | undefined, day: string | undefined) {
  const number = months.indexOf((month ?? '').slice(0, 3).toLowerCase()) + 1
  const two = (value: number | string | undefined) => String(value).padStart(2, '0')
  return `${year ?? '-'}-${two(number)}-${two(day)}`
}

function toMoney(sign: string | undefined, value: string | undefined, scale: string | undefined) {
  const spelled = (sign ?? '').toLowerCase()
  const letter = scale?.slice(0, 1).toLowerCase() ?? ''
  return `${currencies[spelled] ?? spelled.toUpperCase()} ${toNumber(value)}${letter}`
}

function toNumber(value: string | undefined): string {
  const plain = (value ?? '').replace(/,+$/, '')
  const dotted = /^\d{1,3}(,\d{3})+(\.\d+)?$/.test(plain)
    ? plain.replaceAll(',', '')
    : plain.replace(',', '.')
  const [whole = '', fraction = ''] = dotted.split('.')
  const kept = fraction.replace(/0+$/, '')
  return `${whole.replace(/^0+(?=\d)/, '')}${kept === '' ? '' : `.${kept}`}`
}

/** Plural and singular, long and short, of one unit. */
function toUnit(unit: string | undefined): string {
  if (unit === undefined) return ''
  const plain = unit.toLowerCase()
  if (plain === 'percent') return '%'
  return /^(sec|min|hr|hour|day|week|month|year|lb|mile)/.test(plain)
    ? plain
        .replace(/^(sec|min).*/, '$1')
        .replace(/^h(ou)?rs?$/, 'hour')
        .replace(/s$/, '')
    : plain
}
