// The two pages against the whole plane, with a seeded day behind them: what the server says and what the browser shows agree.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seed } from '../src/cli/seed.ts'
import { type Browser, findChromium, launch } from './browser.ts'
import { get } from './clients.ts'
import { startWorld, type World } from './world.ts'

const hasBrowser = findChromium() !== undefined
if (!hasBrowser)
  console.log('Not run: the console on the whole plane. This machine has no Chromium.')

// `SCREENSHOTS=<folder> npm test -- console-plane` keeps a picture of every page, light and dark.
const pictures = process.env.SCREENSHOTS

describe.skipIf(!hasBrowser)('the console on the whole plane', () => {
  let world: World
  let browser: Browser
  let page: Page
  const wrongs: string[] = []

  beforeAll(async () => {
    world = await startWorld()
    browser = await launch()
    page = await browser.newPage()
    page.on('pageerror', (error) => wrongs.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('401')) wrongs.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(world.url) && !request.url().startsWith('data:'))
        wrongs.push(request.url())
    })
  })
  afterAll(async () => {
    await browser?.close()
    await world?.end()
  })

  async function picture(name: string): Promise<void> {
    if (!pictures) return
    mkdirSync(pictures, { recursive: true })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) })
    }
  }

  test('an empty plane says what to do, and a seeded one shows its day', async () => {
    await page.goto(`${world.url}/`)
    await picture('login')
    await page.getByLabel('API key').fill(world.key)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'No traces yet' }).waitFor()
    await picture('empty')
    await seed({ url: world.url, key: world.key, seed: 1, endMs: Date.now(), log: () => {} })
    await page.goto(`${world.url}/console/traces?range=24h`)
    // The list waits for what was accepted before it to be loaded, and a day is being loaded.
    await expect
      .poll(() => page.locator('[role=row][aria-rowindex]').count(), { timeout: 15_000 })
      .toBeGreaterThan(10)
    await picture('traces')
  })

  test('a filter in the URL shows exactly what the API answers to it', async () => {
    const { body } = await get(world, '/v1/traces?service=billing-worker&limit=100')
    await page.goto(`${world.url}/console/traces?range=24h&service=billing-worker`)
    await page.locator('[role=row][aria-rowindex]').first().waitFor()
    const shown = await page.locator('[role=row][aria-rowindex]').allTextContents()
    expect(body.items.length).toBeGreaterThan(5)
    for (const text of shown) expect(text).toContain('billing-worker')
    await picture('filtered')
  })

  test('the agent’s trace of two hundred spans is drawn, and a span shows its messages', async () => {
    const { body } = await get(world, '/v1/traces?name=invoke_agent%20order-planner')
    const traceId = body.items[0].trace_id
    expect(body.items[0].span_count).toBe(200)
    await page.goto(`${world.url}/console/traces/${traceId}`)
    await page.getByRole('treegrid').waitFor()
    expect(Number(await page.getByRole('treegrid').getAttribute('aria-rowcount'))).toBe(200)
    await picture('agent')
    await page.getByRole('treegrid').getByText('chat gpt-4.1').first().click()
    const panel = page.getByRole('complementary', { name: 'Span' })
    await panel.getByText('You help a shopper finish an order.').first().waitFor()
    await picture('span')
  })

  test('the receipt of a run verifies in the page, and a changed pack is refused by name', async () => {
    const { body } = await get(world, '/v1/traces?source=native&provider=sandbox&limit=1')
    const { record_id, trace_id } = body.items[0]
    await page.goto(`${world.url}/console/traces/${trace_id}`)
    await page.getByRole('treegrid').getByRole('row').first().click()
    await page.goto(`${world.url}/verify`)
    const pack = await (await fetch(`${world.url}/v1/vaas/${record_id}/evidence`)).text()
    await verifyText(page, pack)
    await expect.poll(() => checksOf(page, 'Refused')).toEqual([])
    expect((await checksOf(page, 'Passed')).length).toBeGreaterThanOrEqual(7)
    await picture('verify-passed')
    await page.goto(`${world.url}/verify`)
    await verifyText(
      page,
      pack.replace(
        '"environment":"development","input_hash"',
        '"environment":"production","input_hash"',
      ),
    )
    await expect.poll(async () => (await checksOf(page, 'Refused')).join()).toMatch(/signature/i)
    await picture('verify-refused')
  })

  test('prompts that traffic named are listed with their versions', async () => {
    await page.goto(`${world.url}/console/prompts`)
    for (const name of ['support', 'cart-helper'])
      await page.getByText(name, { exact: true }).first().waitFor()
    await page.getByText('support@v2').first().waitFor()
    await picture('prompts')
  })

  test('nothing was refused by the policy, no page failed, and no other origin was asked', () => {
    expect(wrongs).toEqual([])
  })
})

async function verifyText(page: Page, pack: string): Promise<void> {
  await page.getByLabel('Or paste its JSON').fill(pack)
  await page.locator('.check').first().waitFor()
}

async function checksOf(page: Page, outcome: 'Passed' | 'Refused'): Promise<string[]> {
  const lines = page.locator('.check').filter({ has: page.getByText(outcome, { exact: true }) })
  return lines.locator('code').allTextContents()
}
