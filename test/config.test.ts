// runledger.json: the contract's example loads, and every mistake is told at once, each with its path.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Provider } from '../schemas/config.ts'
import { ConfigMistakes, defaultConfig, readConfig } from '../schemas/config-file.ts'
import { configKeys } from '../schemas/config-keys.ts'
import { settingRows } from '../schemas/settings.ts'
import { openConfig } from '../src/config.ts'
import { packageRoot } from '../src/root.ts'

const sandbox: Provider = { id: 'sandbox', baseUrl: undefined, apiKeys: [], responses: undefined }
const source = {
  env: (name: string) => ({ OPENAI_API_KEY: 'sk-1', SECOND: 'sk-2' })[name],
  known: [sandbox],
}

const example = `{
  "providers": [{ "id": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": ["OPENAI_API_KEY"] }],
  "routes":    [{ "id": "default-route", "public_label": "managed-text", "public": true, "models": ["*"],
                  "targets": [{ "provider": "openai", "model": "gpt-4o-mini", "weight": 1 }],
                  "ttft_timeout_ms": 30000, "idle_timeout_ms": 60000, "capture": "full", "capture_required": true, "cache": "off" }],
  "models":    [{ "id": "qwen3-32b", "context_length": 131072, "license": "apache-2.0", "status": "always_on", "tier": "small",
                  "pricing": { "std_input": 0.02, "std_output": 0.08, "cached_input": 0.01 } }],
  "destinations": [], "retention_days": 30, "redact": [], "limits": []
}`

test('the example of the contract loads', () => {
  const config = readConfig(example, source)
  expect(config.providers).toEqual([
    {
      id: 'openai',
      baseUrl: 'https://api.openai.com/v1',
      apiKeys: ['sk-1'],
      responses: undefined,
    },
    sandbox,
  ])
  expect(config.routes).toEqual([
    {
      id: 'default-route',
      publicLabel: 'managed-text',
      public: true,
      models: ['*'],
      targets: [{ provider: 'openai', model: 'gpt-4o-mini', weight: 1 }],
      ttftTimeoutMs: 30_000,
      answerTimeoutMs: 600_000,
      idleTimeoutMs: 60_000,
      totalTimeoutMs: undefined,
      capture: 'full',
      captureRequired: true,
      cacheS: undefined,
    },
  ])
  expect(config.models).toMatchObject([
    { id: 'qwen3-32b', pricing: { stdInput: 0.02, stdOutput: 0.08, cachedInput: 0.01 } },
  ])
})

test('a key whose variable is not set is left out, and the others stay', () => {
  const text = JSON.stringify({
    providers: [{ id: 'p', base_url: 'http://h/v1', api_key_env: ['NOT_SET', 'SECOND'] }],
  })
  expect(readConfig(text, source).providers[0]?.apiKeys).toEqual(['sk-2'])
})

test('without a file there is one route: to the address of the environment, else to the sandbox', () => {
  expect(defaultConfig(source).routes).toMatchObject([
    { id: 'default-route', models: ['*'], targets: [{ provider: 'sandbox', weight: 1 }] },
  ])
  const openai = { id: 'openai', baseUrl: 'http://h/v1', apiKeys: [], responses: undefined }
  const named = defaultConfig({ ...source, known: [sandbox, openai] })
  expect(named.routes[0]?.targets).toMatchObject([{ provider: 'openai' }])
})

test('every mistake is told at once, each with its path', () => {
  const text = JSON.stringify({
    providers: [{ id: 'a b', base_url: 'ftp://x', api_key_env: 'KEY', colour: 1 }, { id: 'two' }],
    routes: [
      {
        id: 'r',
        public: false,
        models: [],
        targets: [{ provider: 'nobody', weight: -1 }],
        ttft_timeout_ms: '30s',
        cache: 'on',
      },
      { id: 'r', targets: [{ provider: 'two', weight: 0 }] },
    ],
    models: [{ id: 'm', pricing: { std_input: 1 } }],
    retention_days: 0,
    redact: [{ pattern: '(' }],
    retries: {},
  })
  const mistakes = mistakesOf(text)
  expect(mistakes.map((mistake) => mistake.split(':')[0]).sort()).toEqual([
    'models[0].pricing.std_output',
    'providers[0].api_key_env',
    'providers[0].base_url',
    'providers[0].colour',
    'providers[0].id',
    'providers[1].base_url',
    'redact[0].pattern',
    'retention_days',
    'retries',
    'routes[0].cache',
    'routes[0].models',
    'routes[0].public_label',
    'routes[0].targets[0].provider',
    'routes[0].targets[0].weight',
    'routes[0].ttft_timeout_ms',
    'routes[1].id',
    'routes[1].targets',
  ])
  expect(mistakes).toContain('providers[1].base_url: is missing')
  expect(mistakes).toContain('retries: there is no such key')
  expect(mistakes).toContain('routes[0].targets[0].provider: there is no provider "nobody"')
  expect(mistakes).toContain('routes[0].ttft_timeout_ms: must be of type number')
})

test('a file that is no JSON, or no object, says so', () => {
  expect(mistakesOf('{"providers":')[0]).toMatch(/^it is not JSON: /)
  expect(mistakesOf('[]')).toEqual(['the file: must be of type object'])
})

function mistakesOf(text: string): readonly string[] {
  try {
    readConfig(text, source)
  } catch (error) {
    if (error instanceof ConfigMistakes) return error.mistakes
    throw error
  }
  return []
}

test('a file that changes is read again, and a bad one keeps what was there and says so', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'runledger-config-'))
  const configFile = join(folder, 'runledger.json')
  const log: string[] = []
  writeFileSync(configFile, '{"retention_days": 7}')
  const config = await openConfig({
    settings: { configFile, openaiBaseUrl: undefined, openaiApiKey: undefined },
    env: () => undefined,
    counters: { count() {} },
    nowMs: Date.now,
    log: (line) => log.push(line),
  })
  try {
    const seen: number[] = []
    config.onChange((next) => seen.push(next.retentionDays))
    expect(config.current().retentionDays).toBe(7)

    writeFileSync(configFile, '{"retention_days": 11}')
    await expect.poll(() => config.current().retentionDays, { timeout: 5_000 }).toBe(11)
    writeFileSync(configFile, '{"retention_days": 0, "colour": 1}')
    await expect.poll(() => config.describe().mistakes, { timeout: 5_000 }).toBe(2)
    expect([config.current().retentionDays, await config.reload(), seen]).toEqual([11, false, [11]])
    expect(log.join('\n')).toContain('was not loaded, and the one before stays')

    rmSync(configFile)
    expect([await config.reload(), config.current().retentionDays]).toEqual([false, 11])
  } finally {
    config.close()
    rmSync(folder, { recursive: true })
  }
})

test('a file that is asked for and is not there, or is wrong, refuses the start', async () => {
  const deps = { env: () => undefined, counters: { count() {} }, nowMs: Date.now, log: () => {} }
  const upstream = { openaiBaseUrl: undefined, openaiApiKey: undefined }
  const folder = mkdtempSync(join(tmpdir(), 'runledger-config-'))
  const configFile = join(folder, 'other.json')
  const open = () => openConfig({ ...deps, settings: { ...upstream, configFile } })
  await expect(open()).rejects.toThrow('RUNLEDGER_CONFIG names')
  writeFileSync(configFile, '{"routes": 1, "colour": 2}')
  await expect(open()).rejects.toThrow(
    /routes: must be of type array\n {2}colour: there is no such/,
  )
  rmSync(folder, { recursive: true })
})

test('every key is explained, and the page of keys is what they say', () => {
  const keys = configKeys()
  expect(keys.filter(({ help }) => help === '')).toEqual([])
  const rows = keys.map(
    ({ path, type, fallback, help }) =>
      `| \`${path}\` | ${type} | ${fallback === '' ? '' : `\`${fallback}\``} | ${help} |`,
  )
  const page = readFileSync(join(packageRoot(), 'schemas', 'runledger-json.md'), 'utf8')
  expect(page.split('\n').filter((line) => line.startsWith('| `'))).toEqual(rows)
})

test('the compose file sets what exists, publishes to this machine alone and knows no secret', () => {
  const text = readFileSync(join(packageRoot(), 'docker-compose.yml'), 'utf8')
  const plane = text.slice(text.indexOf('\n  plane:'), text.indexOf('\n  clickhouse:'))
  const set = [...plane.matchAll(/^ {6}([A-Z_]+): (.*)$/gm)].map(([, name, value]) => ({
    name,
    value,
  }))
  const known = Object.values(settingRows).map(({ env }) => env)
  expect(set.length).toBeGreaterThan(8)
  expect(set.filter(({ name }) => !known.includes(String(name)))).toEqual([])
  const published = [...text.matchAll(/^ {6}- "([\d.:]+)"$/gm)].map(([, port]) => port)
  expect(published.filter((port) => !port?.startsWith('127.0.0.1:'))).toEqual([])
  expect(published).toHaveLength(2)
  // A secret is asked for where it is missing, and never has a default.
  const secrets = [...text.matchAll(/\$\{(\w*(?:KEY|PASSWORD)\w*)([^}]*)\}/g)]
  const open = secrets.filter(
    ([, name, rest]) => name !== 'OPENAI_API_KEY' && !rest?.startsWith(':?'),
  )
  expect(open).toEqual([])
  // What a plane keeps stands on a volume.
  for (const name of ['RUNLEDGER_DATA_DIR', 'RUNLEDGER_MEDIA_DIR']) {
    const dir = set.find((one) => one.name === name)?.value
    const [, volume] = new RegExp(`^ {6}- (\\w+):${dir}$`, 'm').exec(plane) ?? []
    expect(text.slice(text.lastIndexOf('\nvolumes:'))).toMatch(new RegExp(`^ {2}${volume}:$`, 'm'))
  }
})
