// The pages of experiments on the whole plane: from the list to one that failed, its decision, its lines and its pairs.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, findChromium, launch } from './browser.ts'
import { chatAll, experimentOf, isDecided, playModel } from './experiment-world.ts'
import { type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

const hasBrowser = findChromium() !== undefined
if (!hasBrowser) console.log('Not run: the pages of experiments. This machine has no Chromium.')

// `SCREENSHOTS=<folder>` keeps a picture of every state, light and dark.
const pictures = process.env.SCREENSHOTS
const rule = (text: string) => `You are the support desk.\n${text}`

describe.skipIf(!hasBrowser)('the pages of experiments', () => {
  let world: World
  let upstream: ScriptedUpstream
  let browser: Browser
  let page: Page
  const wrongs: string[] = []

  beforeAll(async () => {
    upstream = await startUpstream()
    world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' })
    playModel(upstream, (messages) => `${messages[0]?.content.split('\n')[1]} Send your number.`)
    browser = await launch()
    page = await browser.newPage()
    page.on('pageerror', (error) => wrongs.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('401')) wrongs.push(message.text())
    })
    await page.goto(`${world.url}/`)
    await page.getByLabel('API key').fill(world.key)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'No traces yet' }).waitFor()
  })
  afterAll(async () => {
    await browser?.close()
    await world?.end()
    await upstream?.close()
  })

  async function picture(name: string): Promise<void> {
    if (!pictures) return
    mkdirSync(pictures, { recursive: true })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) })
    }
  }

  test('say what to do while there is none', async () => {
    await page.goto(`${world.url}/console/experiments`)
    await page.getByRole('heading', { name: 'No experiments yet' }).waitFor()
    await picture('experiments-none')
  })

  test('show one that failed without being loaded again: the sentence, the lines, the pairs', async () => {
    const texts = ['Refunds are allowed within 30 days.', 'Refunds are not allowed within 30 days.']
    for (const [i, text] of texts.entries()) {
      const calls = Array.from({ length: 40 }, (_, n) => ({
        system: rule(text),
        user: `Question ${n}: may I send it back?`,
        label: `support@v${i + 1}`,
      }))
      await chatAll(world, calls)
    }
    await experimentOf(world, 'support@v2', isDecided)
    await page.getByRole('link', { name: 'support@v2' }).waitFor({ timeout: 15_000 })
    await picture('experiments')
    await page.getByRole('link', { name: 'support@v2' }).click()
    await page.getByText('Proven worse after').first().waitFor()
    expect(await page.locator('.intervals li').first().textContent()).toContain('worse')
    const lineOf = (name: string) => page.locator('.intervals li', { hasText: name }).textContent()
    expect(await lineOf('Quality')).toMatch(/^Quality-100\spt, -100\spt to /)
    expect(await lineOf('Latency')).toMatch(/^Latency[\d.]+\s% (below|above) its limit, /)
    const pair = page.locator('.samples > li').first()
    expect(await pair.getAttribute('data-verdict')).toBe('worse')
    expect(await pair.locator('pre').allTextContents()).toEqual([
      'Refunds are allowed within 30 days. Send your number.',
      'Refunds are not allowed within 30 days. Send your number.',
    ])
    expect(await pair.locator('.sample-findings').textContent()).toContain('critical_spans')
    await picture('experiment')
    expect(wrongs).toEqual([])
  })
})
