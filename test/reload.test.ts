// The started product with a configuration file: the contract's example is enough to start, SIGHUP reads it again.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { newDataDir, removeDataDir, startProduct } from './product.ts'

const example = {
  providers: [
    { id: 'openai', base_url: 'https://api.openai.com/v1', api_key_env: ['OPENAI_API_KEY'] },
  ],
  routes: [
    {
      id: 'default-route',
      public_label: 'managed-text',
      public: true,
      models: ['*'],
      targets: [{ provider: 'openai', model: 'gpt-4o-mini', weight: 1 }],
      ttft_timeout_ms: 30000,
      idle_timeout_ms: 60000,
      capture: 'full',
      capture_required: true,
      cache: 'off',
    },
  ],
}

test('the example starts, a hang-up reads the file again, and a bad file changes nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'runledger-reload-'))
  const file = join(folder, 'runledger.json')
  const write = (content: object) => writeFileSync(file, JSON.stringify(content))
  write(example)
  const product = await startProduct({ env: { RUNLEDGER_CONFIG: file } })
  try {
    expect(product.output()).toContain('names keys that are not set: OPENAI_API_KEY')
    const routeOf = async () => {
      const answer = await fetch(`${product.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${product.key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] }),
      })
      return answer.headers.get('x-batchin-route-id')
    }
    write({ routes: [{ id: 'first', targets: [{ provider: 'sandbox' }] }] })
    process.kill(product.pid, 'SIGHUP')
    await expect.poll(product.output, { timeout: 10_000 }).toContain('was loaded')
    expect(await routeOf()).toBe('first')

    write({ routes: 'none' })
    process.kill(product.pid, 'SIGHUP')
    await expect.poll(product.output, { timeout: 10_000 }).toContain('was not loaded')
    expect(product.output()).toContain('routes: must be of type array')
    expect(await routeOf()).toBe('first')
    expect(await product.stop()).toBe(0)
  } finally {
    await product.killFamily()
    removeDataDir(product.dataDir)
    rmSync(folder, { recursive: true })
  }
}, 90_000)

test('a file with mistakes refuses the start, with all of them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'runledger-reload-'))
  const file = join(folder, 'runledger.json')
  writeFileSync(
    file,
    JSON.stringify({ colour: 1, routes: [{ id: 'r', targets: [{ provider: 'x' }] }] }),
  )
  const dataDir = newDataDir()
  const started = startProduct({ dataDir, env: { RUNLEDGER_CONFIG: file } })
  await expect(started).rejects.toThrow(
    /colour: there is no such key\n.*routes\[0\].targets\[0\].provider: there is no provider "x"/,
  )
  removeDataDir(dataDir)
  rmSync(folder, { recursive: true })
}, 60_000)
