// Keys and usage in the console, on the whole plane: a key is made and shown once, works, and is revoked; usage is the API's.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, findChromium, launch } from './browser.ts'
import { answerOf, type MoneyWorld, startMoneyWorld } from './money-world.ts'
import { json } from './upstream.ts'

const hasBrowser = findChromium() !== undefined
if (!hasBrowser)
  console.log('Not run: keys and usage in the console. This machine has no Chromium.')

const pictures = process.env.SCREENSHOTS

describe.skipIf(!hasBrowser)('the account in the console', () => {
  let world: MoneyWorld
  let browser: Browser
  let page: Page
  const wrongs: string[] = []

  beforeAll(async () => {
    world = await startMoneyWorld()
    browser = await launch()
    page = await browser.newPage()
    page.on('pageerror', (error) => wrongs.push(String(error)))
    await page.goto(`${world.url}/console/settings`)
    await page.getByLabel('API key').fill(world.key)
    await page.getByRole('button', { name: 'Sign in' }).click()
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

  test('a key is made, shown once, works, and is revoked', async () => {
    await page.getByRole('heading', { name: 'API keys' }).waitFor()
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByLabel('Name').fill('checkout service')
    await page.getByLabel('Requests a minute, at most').fill('120')
    await page.getByLabel('Budget a month, in US dollars').fill('25')
    await picture('key-form')
    await page.getByRole('button', { name: 'Make the key' }).click()
    const key = (await page.locator('.account-secret code').textContent()) ?? ''
    expect(key).toMatch(/^batchin_api_/)
    await picture('key-made')
    world.upstream.play(json(answerOf(1000, 500)))
    // Room for what the upstream will say: more than a call can hold is not believed.
    const believable = { messages: [{ role: 'user', content: 'x'.repeat(1000) }], max_tokens: 500 }
    expect((await world.chat(key, believable)).status).toBe(200)
    await page.getByRole('button', { name: 'I have copied it' }).click()
    expect(await page.locator('.account-secret').count()).toBe(0)
    const row = page.getByRole('row', { name: /checkout service/ })
    expect(await row.textContent()).toContain('120')
    expect(await row.textContent()).toContain('$25.00')
    await picture('keys')
    await row.getByRole('button', { name: 'Revoke' }).click()
    await row.getByRole('button', { name: 'Revoke for good' }).click()
    await expect.poll(() => row.count(), { timeout: 20_000 }).toBe(0)
    expect((await world.chat(key)).status).toBe(401)
  })

  test('a user comes in with email and password, and sees a workspace of their own', async () => {
    await fetch(`${world.url}/v1/users`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ email: 'ann@example.com', name: 'Ann', password: 'correct horse' }),
    })
    const own = await launch()
    const theirs = await own.newPage()
    await theirs.goto(`${world.url}/console/settings`)
    await theirs.getByRole('button', { name: 'Use email and password' }).click()
    await theirs.getByLabel('Email').fill('ann@example.com')
    await theirs.getByLabel('Password').fill('wrong horse')
    await theirs.getByRole('button', { name: 'Sign in' }).click()
    await theirs.getByText('This email and password do not fit.').waitFor()
    await theirs.getByLabel('Password').fill('correct horse')
    await theirs.getByRole('button', { name: 'Sign in' }).click()
    await theirs.getByRole('heading', { name: 'No keys' }).waitFor()
    await own.close()
  })

  test('usage shows what the API says', async () => {
    await page.getByRole('link', { name: 'Usage' }).click()
    await page.getByRole('table', { name: 'By model' }).waitFor()
    await picture('usage')
    const told = await world.get('/v1/usage?days=30')
    const shown = await page.locator('.account-sum').textContent()
    expect(shown).toContain(`Requests${told.total_requests}`)
    expect(shown).toContain('Input tokens1,000')
    expect(shown).toContain('Cost$0.0020')
    expect(wrongs).toEqual([])
  })
})
