// `runledger verify FILE`: an evidence pack checked on this machine alone. Opens the files it is given and nothing else.

import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { parseMultikey } from '../../schemas/encoding.ts'
import {
  type Check,
  type Disclosed,
  firstFailure,
  toVerdict,
  type Verdict,
  verifyEvidence,
} from '../../schemas/verify.ts'

export const verifyUsage = `runledger verify FILE [--root z6Mk…] [--disclosure FILE] [--input FILE] [--output FILE]

  FILE          an evidence pack, as GET /v1/vaas/{id}/evidence answers it
  --root        the issuer's root key, known from elsewhere; may be given more than once
  --disclosure  the salts, as GET /v1/vaas/{id}/disclosure answers them
  --input       the request that was sent, as JSON or text; compared with its commitment
  --output      the answer that came back, likewise

  Ends with 0: valid. 1: invalid, the failing check is named. 2: cannot be read.
  3: nothing is wrong, but no --root was given, so the pack could be anybody's.
`

const exitCodes: Record<Verdict, number> = { valid: 0, invalid: 1, unanchored: 3 }
const unreadable = 2

/** Says what every check found, and sets `process.exitCode`. */
export async function verifyFile(
  args: readonly string[],
  print: (text: string) => void = (text) => void process.stdout.write(text),
): Promise<void> {
  let asked: Asked
  try {
    asked = await readAsked(args)
  } catch (error) {
    print(`${error instanceof Error ? error.message : String(error)}\n\n${verifyUsage}`)
    process.exitCode = unreadable
    return
  }
  const checks = await verifyEvidence(asked.pack, {
    roots: asked.roots,
    ...(asked.disclosed ? { disclosed: asked.disclosed } : undefined),
  })
  print(`${checks.map(toLine).join('\n')}\n\n${toSentence(checks)}\n`)
  process.exitCode = exitCodes[toVerdict(checks)]
}

type Asked = { pack: string; roots: string[]; disclosed: Disclosed | undefined }

async function readAsked(args: readonly string[]): Promise<Asked> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      root: { type: 'string', multiple: true },
      disclosure: { type: 'string' },
      input: { type: 'string' },
      output: { type: 'string' },
    },
  })
  const [file, ...rest] = positionals
  if (file === undefined || rest.length > 0) throw new Error('Name one evidence pack.')
  const roots = values.root ?? []
  const wrong = roots.find((root) => !parseMultikey(root))
  if (wrong !== undefined) throw new Error(`--root ${wrong} is not an Ed25519 Multikey (z6Mk…).`)
  const [pack, disclosure, input, output] = await Promise.all([
    readText(file),
    readOptional(values.disclosure),
    readOptional(values.input),
    readOptional(values.output),
  ])
  if (!isJson(pack)) throw new Error(`${file} is not JSON.`)
  if ((input ?? output) !== undefined && disclosure === undefined)
    throw new Error('--input and --output need the salts: give --disclosure too.')
  return {
    pack,
    roots,
    disclosed: disclosure === undefined ? undefined : toDisclosed(disclosure, { input, output }),
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function toDisclosed(
  disclosure: string,
  texts: { input: string | undefined; output: string | undefined },
): Disclosed {
  const salts: unknown = JSON.parse(disclosure)
  if (typeof salts !== 'object' || salts === null)
    throw new Error('--disclosure is not a JSON object.')
  const fields = Object.entries({ ...salts, ...texts }).filter(
    ([, value]) => typeof value === 'string',
  )
  return Object.fromEntries(fields) as Disclosed // members that are not its own are never looked at
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error(`${path} is not UTF-8 text.`, { cause })
  }
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : readText(path)
}

function toLine({ name, ok, reason }: Check): string {
  const mark = ok === null ? '  -  ' : ok ? '  ok ' : 'FAILS'
  return `${mark}  ${name.padEnd(20)}${reason}`
}

function toSentence(checks: readonly Check[]): string {
  const verdict = toVerdict(checks)
  switch (verdict) {
    case 'valid':
      return 'VALID SIGNATURE, NOT YET LOGGED'
    case 'unanchored':
      return 'VALID SIGNATURE, UNKNOWN ROOT: give --root to say whose key it must be.'
    case 'invalid':
      return `INVALID: ${firstFailure(checks)?.name}`
    default:
      return verdict satisfies never
  }
}
