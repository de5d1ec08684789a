// The console's journeys in a real browser: what a reader does in a day, and what hostile text must never do.

import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Browser, findChromium, launch } from './browser.ts'
import {
  agentTraceId,
  brokenTraceId,
  hostile,
  hostileTraceId,
  hugeTraceId,
  recordId,
} from './console-data.ts'
import { type Fixture, fixtureKey, startFixture } from './console-fixture.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const hasBrowser = findChromium() !== undefined
if (!hasBrowser) console.log('Not run: the journeys of the console. This machine has no Chromium.')

describe.skipIf(!hasBrowser)('the console in a browser', () => {
  let fixture: Fixture
  let browser: Browser
  let page: Page
  /** Everything that must stay empty: policy violations, faults of the page, requests to other origins, scripts that ran. */
  let wrongs: string[]

  beforeAll(async () => {
    buildConsole()
    fixture = await startFixture()
    browser = await launch()
    page = await browser.newPage()
    wrongs = []
    watch(page, fixture.url, wrongs)
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) =>
        console.error(`CSP ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`),
      )
    })
  })
  afterAll(async () => {
    await browser?.close()
    await fixture?.stop()
  })
  beforeEach(() => {
    fixture.asked.length = 0
  })

  const go = (path: string) => page.goto(fixture.url + path)
  const rows = () => page.locator('[role=row][aria-rowindex]')
  const active = () => page.locator('[role=row][aria-selected=true]')
  const search = () => new URL(page.url()).search
  const signedIn = async () => {
    await go('/console/login')
    await page.getByLabel('API key').fill(fixtureKey)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await rows().first().waitFor()
  }

  test('a stranger is asked for a key, told when it is wrong, and taken to where they wanted to go', async () => {
    await go(`/console/traces/${agentTraceId}?span=00000000000000a4`)
    await page.getByLabel('API key').fill('batchin_api_wrong')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').getByText('not known here').waitFor()
    await page.getByLabel('API key').fill(fixtureKey)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page
      .getByRole('complementary', { name: 'Span' })
      .getByText('lookup_order')
      .first()
      .waitFor()
    expect(fixture.writes).toEqual(['POST', 'POST'])
  })

  test('filters live in the URL: typed ones replace, the server is asked for them, Back leaves the list as it was', async () => {
    await signedIn()
    await page.keyboard.press('/')
    await page.keyboard.type('rank')
    await page.waitForURL(/q=rank/)
    await page.getByLabel('Status').selectOption('error')
    await page.getByRole('button', { name: '7 d', exact: true }).click()
    await page.waitForURL(/range=7d/)
    await expect.poll(() => fixture.asked.at(-1)?.get('status')).toBe('error')
    expect(fixture.asked.at(-1)?.get('q')).toBe('rank')
    const days = (Date.now() - Date.parse(fixture.asked.at(-1)?.get('from') ?? '')) / 86_400_000
    expect(days).toBeCloseTo(7, 1)
    await expect
      .poll(async () => new Set(await page.locator('.row .status').allTextContents()))
      .toEqual(new Set(['error']))
    const at = search()
    await page.keyboard.press('Escape')
    await page.locator('.row-link').first().click()
    await page.getByRole('treegrid').waitFor()
    await page.goBack()
    await rows().first().waitFor()
    expect(search()).toBe(at)
    expect(await page.getByLabel('Search names, inputs and outputs').inputValue()).toBe('rank')
  })

  test('the list is walked and opened by keyboard, and grows by its cursor as one reaches its end', async () => {
    await signedIn()
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    await page.keyboard.press('k')
    expect(await active().getAttribute('aria-rowindex')).toBe('1')
    for (let loaded = 100; loaded <= 300; loaded += 100) {
      await page.keyboard.press('End')
      await expect
        .poll(() => page.getByRole('grid').getAttribute('aria-rowcount').then(Number))
        .toBeGreaterThan(loaded)
    }
    expect(fixture.asked.some((asked) => asked.get('cursor') === '200')).toBe(true)
    expect(new Set(fixture.asked.map((asked) => asked.get('from'))).size).toBe(1)
    expect(await rows().count()).toBeLessThan(60)
    const last = await active().getAttribute('aria-rowindex')
    await page.keyboard.press('Enter')
    await page.getByRole('treegrid').waitFor()
    await page.goBack()
    await active().waitFor()
    expect(await active().getAttribute('aria-rowindex')).toBe(last)
    await page.keyboard.press('Home')
    await page.keyboard.press('Enter')
    await page.waitForURL(new RegExp(agentTraceId))
  })

  test('a workspace without traces says how to send the first, and one whose filter finds none says how to loosen it', async () => {
    const { traces } = fixture.state
    await signedIn()
    await go('/console/traces?q=nothing-is-called-this')
    await page.getByRole('heading', { name: 'No trace matches' }).waitFor()
    await page.getByRole('button', { name: 'Clear filters' }).click()
    await rows().first().waitFor()
    fixture.state.traces = []
    await page.reload()
    await page.getByRole('heading', { name: 'No traces yet' }).waitFor()
    await page.getByRole('button', { name: /Copy A first call/ }).click()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(
      `curl ${fixture.url}/v1/chat/completions`,
    )
    fixture.state.traces = traces
  })

  test('a live list asks again by itself and keeps the reader on the trace they were on', async () => {
    await signedIn()
    await page.getByRole('switch', { name: 'Live' }).click()
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    expect(await page.getByRole('grid').evaluate((list) => list === document.activeElement)).toBe(
      true,
    )
    const [newest] = fixture.state.traces
    const added = { ...newest!, trace_id: 'f'.repeat(32), name: 'just came in' }
    fixture.state.traces = [added, ...fixture.state.traces]
    await page.getByText('just came in').waitFor()
    expect(await active().getAttribute('aria-rowindex')).toBe('3')
    fixture.state.traces = fixture.state.traces.slice(1)
    await page.getByRole('switch', { name: 'Live' }).click()
  })

  test('a failing plane is said in its own words with the request id, and Try again tries again', async () => {
    await signedIn()
    fixture.state.fails = true
    await go('/console/traces?service=web')
    await page.getByText('The store is restarting.').waitFor()
    await page.getByText('req_01KADV7Q4ZJ8N5W2R6T9X3C1BF').waitFor()
    fixture.state.fails = false
    await page.getByRole('button', { name: 'Try again' }).click()
    await rows().first().waitFor()
  })

  test('a trace is read by keyboard: next error, parent, fold, panel, tabs, Escape; each step is in the URL', async () => {
    await signedIn()
    await go(`/console/traces/${agentTraceId}`)
    await rows().first().waitFor()
    const all = await rows().count()
    expect(all).toBe(14)
    await page.keyboard.press('e')
    expect(await active().textContent()).toContain('execute_tool lookup_order')
    await page.keyboard.press('ArrowLeft')
    await expect.poll(() => rows().count()).toBe(all - 1)
    await page.keyboard.press('ArrowRight')
    await expect.poll(() => rows().count()).toBe(all)
    await page.keyboard.press('Enter')
    await page.waitForURL(/span=00000000000000a7/)
    await page.getByRole('complementary').getByText('503 Service Unavailable').waitFor()
    await page.keyboard.press('k')
    await page.waitForURL(/span=00000000000000a4/)
    await page.getByRole('tab', { name: 'Messages' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.waitForURL(/tab=attributes/)
    await page
      .getByRole('complementary')
      .getByPlaceholder('Filter by key or value')
      .fill('temperature')
    expect(await page.locator('.pair').count()).toBe(1)
    await page.getByRole('tab', { name: 'Attributes' }).focus()
    await page.keyboard.press('Escape')
    await expect.poll(search).toBe('')
    await page.goBack()
    await page.getByRole('treegrid').waitFor()
  })

  test('a receipt is checked in the page, check by check', async () => {
    await signedIn()
    await go(`/console/traces/${agentTraceId}?span=00000000000000a4&tab=receipt`)
    await page.getByRole('button', { name: 'Verify here' }).click()
    await page.locator('.check').first().waitFor()
    expect(await outcomes(page)).toMatchObject({
      schema: 'Passed',
      canonical: 'Passed',
      signature_webcrypto: 'Passed',
      root: 'Not checked',
    })
    expect(Object.values(await outcomes(page))).not.toContain('Refused')
  })

  test('a trace of 50,000 spans keeps few rows in the page, jumps to its end and finds a span by name', async () => {
    await signedIn()
    await go(`/console/traces/${hugeTraceId}`)
    await rows().first().waitFor()
    expect(await page.getByRole('treegrid').getAttribute('aria-rowcount')).toBe('50000')
    await page.keyboard.press('End')
    await expect.poll(() => active().getAttribute('aria-rowindex')).toBe('50000')
    expect(await rows().count()).toBeLessThan(80)
    await page.getByPlaceholder('Find spans').fill('step 49991')
    await page.getByText('1 match').waitFor()
    await page.keyboard.press('Enter')
    await expect.poll(() => active().textContent()).toContain('step 49991')
    await page.getByRole('button', { name: 'Fold all', exact: true }).click()
    await expect.poll(() => page.getByRole('treegrid').getAttribute('aria-rowcount')).toBe('1')
  })

  test('broken parents draw every span once, and say what is broken', async () => {
    await signedIn()
    await go(`/console/traces/${brokenTraceId}`)
    await rows().first().waitFor()
    expect(await rows().count()).toBe(12)
    const text = await page.getByRole('treegrid').textContent()
    for (const said of [
      'missing parent',
      'cycle',
      'clock adrift',
      'doubled id, second',
      'orphan two',
    ])
      expect(text).toContain(said)
  })

  test('hostile text is shown as text: it runs nothing, loads nothing, and hides none of its characters', async () => {
    await signedIn()
    await go(`/console/traces/${hostileTraceId}?span=0000000000000001`)
    await page.locator('.bubble').first().waitFor()
    for (const tab of ['Attributes', 'Tokens & cost', 'Receipt', 'Raw', 'Messages']) {
      await page.getByRole('tab', { name: tab }).click()
      await page.locator('.panel-body > *').first().waitFor()
    }
    const said = await page.locator('.panel-body').textContent()
    for (const text of hostile.slice(0, 6)) expect(said).toContain(text)
    expect(await page.locator('.hidden-char', { hasText: 'RLO' }).count()).toBeGreaterThan(0)
    expect(
      await page.locator('#root').locator('script, iframe, object, embed, img, style').count(),
    ).toBe(0)
    expect(
      await page
        .locator('a')
        .evaluateAll((links) =>
          links.every(
            (link) => link instanceof HTMLAnchorElement && link.origin === location.origin,
          ),
        ),
    ).toBe(true)
    await page.getByText('of 10 MB').waitFor()
    await page.getByRole('button', { name: 'Show more' }).click()
    expect(
      await page.evaluate(() => document.querySelector('.panel-body')?.textContent?.length ?? 0),
    ).toBeLessThan(200_000)
    expect(await page.evaluate(() => '__owned' in window)).toBe(false)
  })

  test('a prompt version leads to its traces', async () => {
    await signedIn()
    await page.getByRole('link', { name: 'Prompts' }).click()
    await page.getByRole('link', { name: 'support@v3' }).click()
    await page.waitForURL(/\/console\/prompts\/support\?to=support%40v3/)
    await page.getByText('Never say <b>maybe</b>.').waitFor()
    await page.getByRole('link', { name: '1,284' }).click()
    await page.waitForURL(/prompt_version_id=support%40v3/)
    await expect.poll(() => fixture.asked.at(-1)?.get('prompt_version_id')).toBe('support@v3')
  })

  test('the theme goes round by its button and stays after a reload', async () => {
    await signedIn()
    const theme = () =>
      page.evaluate(() => [
        document.documentElement.dataset.theme,
        getComputedStyle(document.body).backgroundColor,
      ])
    await page.getByRole('button', { name: /^Theme: system/ }).click()
    const light = await theme()
    await page.getByRole('button', { name: /^Theme: light/ }).click()
    const dark = await theme()
    expect([light[0], dark[0]]).toEqual(['light', 'dark'])
    expect(light[1]).not.toBe(dark[1])
    await page.reload()
    await rows().first().waitFor()
    expect(await theme()).toEqual(dark)
  })

  test('the verify page needs no login and names each check, for a good pack and for one with a changed word', async () => {
    await page.context().clearCookies()
    await go(`/verify?record=${recordId}`)
    await page.locator('.check').first().waitFor()
    const good = await outcomes(page)
    expect(good).toMatchObject({
      schema: 'Passed',
      signature_noble: 'Passed',
      certificate: 'Passed',
      root: 'Not checked',
    })
    await page.getByLabel(/Root keys you trust/).fill(fixture.root)
    await expect.poll(async () => (await outcomes(page)).root).toBe('Passed')
    const pack = await fetch(`${fixture.url}/v1/vaas/${recordId}/evidence`).then((answer) =>
      answer.text(),
    )
    await page.getByLabel('Or paste its JSON').fill(pack.replace('"gpt-4o-mini"', '"gpt-4o"'))
    await expect.poll(async () => (await outcomes(page)).signature_noble).toBe('Refused')
    expect((await outcomes(page)).signature_webcrypto).toBe('Refused')
    await page.getByText('Do not rely on this pack').waitFor()
    await page
      .locator('input[type=file]')
      .setInputFiles({ name: 'pack.json', mimeType: 'application/json', buffer: Buffer.from(pack) })
    await expect.poll(async () => (await outcomes(page)).signature_noble).toBe('Passed')
    await page.getByText('served by the party being audited').waitFor()
    await page.getByText('runledger verify FILE').waitFor()
  })

  test('the policy is in force: neither a string as markup nor an inline script gets in', async () => {
    const other = await browser.newPage()
    await other.goto(`${fixture.url}/verify`)
    const tried = await other.evaluate(() => {
      const script = document.createElement('script')
      let refused = ''
      try {
        script.text = 'window.__owned = 9'
      } catch (error) {
        refused = String(error)
      }
      document.body.append(script)
      return { refused, owned: '__owned' in window }
    })
    expect(tried.refused).toContain('TrustedScript')
    expect(tried.owned).toBe(false)
    await other.close()
  })

  test('signing out ends the session and carries the CSRF header', async () => {
    await signedIn()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('API key').waitFor()
    expect(fixture.writes.at(-1)).toBe('DELETE')
    await go('/console/prompts')
    await page.waitForURL(/\/console\/login\?next=%2Fconsole%2Fprompts/)
  })

  test('through all of this no policy was violated, no page failed, and no other origin was asked', () => {
    expect(wrongs).toEqual([])
  })
})

/** Each check of the page by name, with the word that stands beside it. */
async function outcomes(page: Page): Promise<Record<string, string>> {
  const pairs = await page
    .locator('.check')
    .evaluateAll((checks) =>
      checks.map((check) => [
        check.querySelector('code')?.textContent ?? '',
        check.querySelector('.check-word')?.textContent ?? '',
      ]),
    )
  return Object.fromEntries(pairs)
}

function watch(page: Page, origin: string, wrongs: string[]): void {
  page.on('pageerror', (error) => wrongs.push(`fault ${error.message}`))
  page.on('console', (message) => {
    // An answer that is not 2xx is the business of the page; what the page made of it is what the tests look at.
    if (message.text().startsWith('Failed to load resource: the server responded')) return
    if (message.type() === 'error' || /Content Security|Trusted/i.test(message.text()))
      wrongs.push(message.text())
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:'))
      wrongs.push(`asked ${request.url()}`)
  })
  page.on('dialog', (dialog) => {
    wrongs.push(`dialog ${dialog.message()}`)
    void dialog.dismiss()
  })
}

/** Builds the console when its sources are newer than the build: the test drives what would be served. */
function buildConsole(): void {
  const newest = (folder: string): number =>
    Math.max(
      0,
      ...readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
        (name) => statSync(join(root, folder, name)).mtimeMs,
      ),
    )
  const built =
    statSync(join(root, 'dist/console/index.html'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (built > Math.max(newest('dashboards/console'), newest('schemas'))) return
  execFileSync(
    process.execPath,
    [
      join(root, 'node_modules/vite/bin/vite.js'),
      'build',
      '--config',
      'dashboards/console/vite.config.ts',
    ],
    { cwd: root, stdio: 'ignore' },
  )
}
