// Templates as laws: no logic, no prototypes, errors with their place, and a past prompt read back only when it can be read once.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  extractVariables,
  parseTemplate,
  placeholdersMax,
  renderTemplate,
  variablesOf,
  writeTemplate,
} from '../schemas/template.ts'
import { rerender } from '../src/registry/rerender.ts'
import type { StoredContent } from '../src/registry/rows.ts'

const fill = (text: string, values: Record<string, string>) =>
  renderTemplate(parseTemplate(text), new Map(Object.entries(values)))

describe('a template', () => {
  test('puts values in once: what they hold is not read again', () => {
    expect(fill('Hello {{name}}, {{ name }}!', { name: '{{secret}}' })).toBe(
      'Hello {{secret}}, {{secret}}!',
    )
    expect(fill('Write \\{{name}} for {{name}}.', { name: 'Ada' })).toBe('Write {{name}} for Ada.')
  })

  test.each([
    ["{{constructor.constructor('return process')()}}", 'line 1, column 1'],
    ['one\n  {{#with user}}', 'line 2, column 3'],
    ['{{a.b}}', 'line 1, column 1'],
    ['{{}}', 'line 1, column 1'],
    ['{{💥}}', 'line 1, column 1'],
    ['Hello {{name', 'line 1, column 7'],
    ['{{{name}}}', 'line 1, column 1'],
    ['{{> ../../etc/passwd}}', 'line 1, column 1'],
  ])('refuses %s with its place', (text, place) => {
    expect(() => parseTemplate(text)).toThrow(place)
  })

  test('leaves what others would run as it is', () => {
    const text = `$${'{process.env}'} <%= x %> {% if %} {x} $& $1`
    expect(fill(text, {})).toBe(text)
  })

  test('knows names that objects have too', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'then', 'hasOwnProperty']) {
      expect(variablesOf(parseTemplate(`{{${name}}}`))).toEqual([name])
      expect(renderTemplate(parseTemplate(`a{{${name}}}`), new Map([[name, 'b']]))).toBe('ab')
    }
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  test('has a bound on what it holds', () => {
    expect(() => parseTemplate('{{x}}'.repeat(placeholdersMax + 1))).toThrow('placeholders')
    expect(() => parseTemplate('x'.repeat(300_000))).toThrow('characters')
  })

  test('written out parses to the same parts', () => {
    const piece = fc.oneof(
      fc.constantFrom('{{a}}', '{{ b }}', '\\{{', '{', '}', '\n', '{{> x@v1}}'),
      fc.string({ maxLength: 6 }).filter((text) => !/[{}\\]/.test(text)),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        fc.pre(isTemplate(text))
        const parts = parseTemplate(text)
        expect(withoutPlaces(parseTemplate(writeTemplate(parts)))).toEqual(withoutPlaces(parts))
      }),
      { seed: 1 },
    )
  })

  test('gives back its values when there is one reading, and never a wrong one', () => {
    const value = fc.string({
      unit: fc.constantFrom('a', 'b', ' ', '.', 'Dear', '\n'),
      maxLength: 6,
    })
    fc.assert(
      fc.property(
        value,
        value,
        fc.constantFrom('Dear {{x}}, {{y}}.', '{{x}} {{y}}', '{{x}}', 'a{{x}}b{{x}}'),
        (x, y, text) => {
          const parts = parseTemplate(text)
          const values = new Map([
            ['x', x],
            ['y', y],
          ])
          const rendered = renderTemplate(parts, values)
          const found = extractVariables(parts, rendered)
          // Undefined is honest; another reading would fill the candidate with something the run never said.
          if (found) for (const [name, got] of found) expect(got).toBe(values.get(name))
        },
      ),
      { seed: 2, numRuns: 500 },
    )
    expect(
      extractVariables(
        parseTemplate('Dear {{x}}, your order {{y}} is late.'),
        'Dear Ada, your order 17 is late.',
      ),
    ).toEqual(
      new Map([
        ['x', 'Ada'],
        ['y', '17'],
      ]),
    )
    expect(extractVariables(parseTemplate('{{x}} {{y}}'), 'a b c')).toBeUndefined()
  })
})

function isTemplate(text: string): boolean {
  try {
    parseTemplate(text)
    return true
  } catch {
    return false
  }
}

function withoutPlaces(parts: ReturnType<typeof parseTemplate>) {
  return parts.map((part) => ('at' in part ? { ...part, at: 0 } : part))
}

describe('a past request', () => {
  const declared = (...contents: string[]): StoredContent => ({
    kind: 'declared',
    messages: contents.map((content) => ({ role: 'system' as const, content })),
  })
  const discovered = (literals: string[], values: [string, 'inline' | 'gap'][]): StoredContent => ({
    kind: 'discovered',
    template: { literals, slots: values.map(([name, kind]) => ({ name, kind, sample: '' })) },
  })
  const arm = (versionId: string, content: StoredContent | undefined, tools = '') => ({
    versionId,
    content,
    hashes: { text: '', tools, responseFormat: '', params: '' },
  })
  const ask = { role: 'user', content: 'Where is it?' }
  const say = (content: string) => [{ role: 'system', content }, ask]

  test('is made again with another declared version, its variables kept', () => {
    const made = rerender({
      messages: say('You help Ada. Be brief.'),
      from: arm('s@v1', declared('You help {{name}}. Be brief.')),
      to: arm('s@v2', declared('Be kind to {{name}}.', 'Never say no.')),
    })
    expect(made).toMatchObject({
      ok: true,
      messages: [{ content: 'Be kind to Ada.' }, { content: 'Never say no.' }, ask],
    })
  })

  test('keeps the words around it when versions were found in traffic', () => {
    const slots: [string, 'inline' | 'gap'][] = [
      ['start', 'gap'],
      ['name', 'inline'],
      ['end', 'gap'],
    ]
    const made = rerender({
      messages: say('You help Ada. Be brief.'),
      from: arm('s@v1', discovered(['You help', '. Be brief.'], slots)),
      to: arm('s@v2', discovered(['You serve', '. Be kind.'], slots), 'other'),
    })
    expect(made).toMatchObject({ ok: true, messages: say('You serve Ada. Be kind.') })
  })

  test.each([
    ['no_template', undefined, declared('x')],
    [
      'no_template',
      discovered([], [['start', 'gap']]),
      discovered(
        ['x'],
        [
          ['start', 'gap'],
          ['end', 'gap'],
        ],
      ),
    ],
    ['ambiguous', declared('Another {{name}}'), declared('x')],
    ['missing_variable', declared('You help {{name}}. Be brief.'), declared('{{order}}')],
    ['not_rendered', declared('You help {{name}}. Be brief.', 'More.'), declared('x')],
    [
      'missing_variable',
      discovered(
        ['Be brief.'],
        [
          ['start', 'gap'],
          ['end', 'gap'],
        ],
      ),
      declared('x'),
    ],
  ] as const)('is left alone when nothing sure can be made of it: %s', (reason, from, to) => {
    const made = rerender({
      messages: say('You help Ada. Be brief.'),
      from: arm('s@v1', from),
      to: arm('s@v2', to),
    })
    expect(made).toMatchObject({ ok: false, reason })
  })

  test('uses recorded variables only when they give the prompt back', () => {
    const arms = {
      from: arm('s@v1', declared('{{a}} {{b}}')),
      to: arm('s@v2', declared('{{b}} {{a}}')),
    }
    const messages = say('x y z')
    expect(rerender({ messages, ...arms })).toMatchObject({ ok: false, reason: 'ambiguous' })
    expect(rerender({ messages, ...arms, variables: { a: 'x y', b: 'z' } })).toMatchObject({
      ok: true,
      messages: say('z x y'),
    })
    expect(rerender({ messages, ...arms, variables: { a: 'no', b: 'z' } })).toMatchObject({
      ok: false,
    })
  })
})
