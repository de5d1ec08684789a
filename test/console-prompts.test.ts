// The page of a prompt on the whole plane: what is in force, what differs, and moving it with a reason, as a person does.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, findChromium, launch } from './browser.ts'
import type { Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

const hasBrowser = findChromium() !== undefined
if (!hasBrowser) console.log('Not run: the page of a prompt. This machine has no Chromium.')

// `SCREENSHOTS=<folder>` keeps a picture of every state, light and dark.
const pictures = process.env.SCREENSHOTS

const lines = [
  'You are the support agent of {{shop}}.',
  'Answer in the language of the customer.',
  'Name the order by its number.',
  'Offer a refund when the parcel is late.',
  'Be brief.',
  'End with a question.',
]

describe.skipIf(!hasBrowser)('the page of a prompt', () => {
  let world: World
  let browser: Browser
  let page: Page
  const wrongs: string[] = []

  beforeAll(async () => {
    world = await startWorld()
    await declare(lines)
    await declare(lines.with(3, 'Never offer a refund before the parcel is back.'))
    await declare(lines.toSpliced(4, 1).concat('Sign with {{agent}}.'), { temperature: 0 })
    await send('POST', '/support/promote', { version: 'v2', reason: 'Fewer mistaken refunds.' })
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
  })

  async function send(method: string, path: string, body?: unknown): Promise<Json> {
    const answer = await fetch(`${world.url}/v1/prompts${path}`, {
      method,
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return answer.json()
  }

  function declare(text: string[], params?: object): Promise<Json> {
    const messages = [{ role: 'system', content: text.join('\n') }]
    return send('POST', '', { registry_id: 'support', messages, ...(params ? { params } : {}) })
  }

  const promoted = async () => (await send('GET', '/support')).promoted_version_id

  async function picture(name: string): Promise<void> {
    if (!pictures) return
    mkdirSync(pictures, { recursive: true })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: join(pictures, `${name}-${colorScheme}.png`) })
    }
  }

  const picked = (label: string) =>
    page.locator('.prompt-compare label', { hasText: label }).locator('select').inputValue()

  test('is reached from the list, and shows the latest against the one in force', async () => {
    await page.goto(`${world.url}/console/prompts`)
    await page.getByRole('link', { name: 'support', exact: true }).click()
    await page.getByRole('heading', { name: 'What is different' }).waitFor()
    const difference = page.locator('.diff').first()
    await difference.waitFor()
    expect(await picked('From')).toBe('support@v2')
    expect(await picked('To')).toBe('support@v3')
    const changed = async (kind: string) =>
      (await difference.locator(`[data-kind=${kind}]`).allTextContents()).map((text) =>
        text.replace(/^(added|removed): /, ''),
      )
    expect(await changed('removed')).toEqual([
      'Never offer a refund before the parcel is back.',
      'Be brief.',
    ])
    expect(await changed('added')).toEqual([
      'Offer a refund when the parcel is late.',
      'Sign with {{agent}}.',
    ])
    await page.locator('.diff figcaption', { hasText: 'Model and parameters' }).waitFor()
    await page.getByText('Fewer mistaken refunds.').waitFor()
    await picture('prompt')
  })

  test('promotes with a reason, and rolls back with another', async () => {
    await page.getByRole('button', { name: 'Promote …' }).click()
    const confirm = page.getByRole('dialog').getByRole('button', { name: 'Promote' })
    expect(await confirm.isDisabled()).toBe(true)
    await page.getByLabel('Reason, for the history').fill('It signs its answers.')
    await picture('prompt-promote')
    await confirm.click()
    await page.getByText('It signs its answers.').waitFor()
    expect(await promoted()).toBe('support@v3')

    await page.getByRole('button', { name: 'Roll back …' }).click()
    await page.getByLabel('Reason, for the history').fill('Nobody wants a signature.')
    await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click()
    await page.getByText('Nobody wants a signature.').waitFor()
    expect(await promoted()).toBe('support@v2')
  })

  test('tells what stands against a promotion, and what others did meanwhile', async () => {
    await page.getByRole('button', { name: 'Promote …' }).first().click()
    await page.getByLabel('Reason, for the history').fill('Once more.')
    await send('POST', '/support/pin', { version: 'v2', reason: 'Audit week.' })
    await page.getByRole('dialog').getByRole('button', { name: 'Promote' }).click()
    await page.getByRole('alert').getByText('pinned to support@v2').waitFor()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByText('Audit week.').waitFor()
    await page.getByText('nothing else is promoted').waitFor()
  })

  test('has a page that explains it, which needs neither a session nor a script', async () => {
    const answer = await fetch(`${world.url}/docs/prompts`)
    expect([answer.status, answer.headers.get('content-security-policy')]).toEqual([
      200,
      expect.stringContaining("default-src 'none'"),
    ])
    await page.goto(`${world.url}/docs/prompts`)
    await page.getByRole('heading', { name: 'Two modes' }).waitFor()
    await picture('docs-prompts')
    await page.getByRole('link', { name: 'experiments' }).click()
    await page.getByRole('heading', { name: 'What may promote' }).waitFor()
    await picture('docs-experiments')
    expect((await fetch(`${world.url}/docs/nothing`)).status).toBe(404)
  })

  test('says so when there is no such prompt; and nothing failed or was refused by the policy', async () => {
    await page.goto(`${world.url}/console/prompts/nothing`)
    await page.getByRole('heading', { name: 'There is no such prompt' }).waitFor()
    expect(wrongs.filter((wrong) => !/40[49]/.test(wrong))).toEqual([])
  })
})
