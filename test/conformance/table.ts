// The conformance table in a terminal: of our own product, started for it, or of any OTLP/HTTP endpoint by its URL.

import { parseArgs } from 'node:util'
import { removeDataDir, startProduct } from '../product.ts'
import { rows } from './catalogue.ts'
import type { Target } from './client.ts'
import { type CaseName, caseNames, type Outcome, runRows } from './run-rows.ts'

const usage = `npm run conformance                          this product, started for it
npm run conformance -- --url http://host:4318 [--header name=value …]
    another endpoint: its /v1/traces, or the path that the URL has. What it stored is not looked at.
    --runledger   the endpoint is a Runledger and the key may read: looked at all the same
    --all         the slow rows too (a minute)
    --failing     print only rows that fail`

const marks = { pass: 'pass', fail: 'FAIL', 'n/a': 'n/a' }
const whatWidth = 74

/** Resolves with the number of failures. */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      url: { type: 'string' },
      header: { type: 'string', multiple: true, default: [] },
      runledger: { type: 'boolean', default: false },
      all: { type: 'boolean', default: false },
      failing: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage)
    return 0
  }
  const outcomes = values.url
    ? await runRows(
        rows,
        { url: values.url, headers: toHeaders(values.header), isOurs: values.runledger },
        values.all,
      )
    : await againstProduct((target) => runRows(rows, target, values.all))
  print(outcomes, values.failing)
  return outcomes.filter(({ verdict }) => verdict === 'fail').length
}

async function againstProduct<T>(use: (target: Target) => Promise<T>): Promise<T> {
  const product = await startProduct()
  try {
    const headers = { Authorization: `Bearer ${product.key}` }
    return await use({ url: product.url, headers, isOurs: true })
  } finally {
    await product.stop()
    removeDataDir(product.dataDir)
  }
}

function toHeaders(given: string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new Error(`--header ${pair}: must be name=value`)
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
}

function print(outcomes: Outcome[], isFailingOnly: boolean): void {
  line('id', 'level', 'what', [...caseNames])
  line(
    '--',
    '-----',
    '----',
    caseNames.map(() => '----'),
  )
  for (const row of rows) {
    const own = outcomes.filter((one) => one.row === row)
    if (isFailingOnly && !own.some(({ verdict }) => verdict === 'fail')) continue
    const cell = (name: CaseName) => marks[own.find((one) => one.name === name)?.verdict ?? 'n/a']
    const cells = caseNames.map((name) => (own.some((one) => one.name === name) ? cell(name) : '·'))
    line(row.id, row.level, row.what, cells)
  }
  const failed = outcomes.filter(({ verdict }) => verdict === 'fail')
  for (const { row, name, why } of failed)
    console.log(`\n${row.id} ${row.level} (${name}) ${row.what}\n    ${why.slice(0, 300)}`)
  const counted = (verdict: Outcome['verdict'], level?: string) =>
    outcomes.filter((one) => one.verdict === verdict && (!level || one.row.level === level)).length
  console.log(
    `\n${counted('n/a')} do not apply. Failed by level: MUST ${counted('fail', 'MUST')}, SHOULD ${counted('fail', 'SHOULD')}, MAY ${counted('fail', 'MAY')}, ours ${counted('fail', 'ours')}`,
  )
  console.log(`${counted('pass')} passed, ${counted('fail')} failed`)
}

function line(id: string, level: string, what: string, cells: string[]): void {
  const columns = cells.map((cell, i) => cell.padEnd(Math.max(4, caseNames[i]?.length ?? 0)))
  const text = what.length > whatWidth ? `${what.slice(0, whatWidth - 1)}…` : what
  console.log(
    `${id.padEnd(20)} ${level.padEnd(6)} ${text.padEnd(whatWidth)} ${columns.join(' ')}`.trimEnd(),
  )
}
