// `npm test`: makes sure of the builds, a browser and a redis-server, runs every test, and ends with one line that counts them.
// Arguments go to vitest, so `npm test -- otlp` runs some.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const redisServer = '/usr/bin/redis-server'

const run = (command, args, options = {}) =>
  spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })

// Debian's packages, where the command may install them.
function install(name) {
  const isRoot = process.getuid?.() === 0
  if (!isRoot || !existsSync('/usr/bin/apt-get')) return
  console.log(`Installing ${name} for the tests …`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const quiet = { env, stdio: ['ignore', 'ignore', 'inherit'] }
  run('apt-get', ['update', '-q'], quiet)
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', name], quiet)
}

function ensureBrowser() {
  if (process.env.CHROMIUM_PATH || browsers.some((path) => existsSync(path))) return
  install('chromium')
  if (!browsers.some((path) => existsSync(path))) {
    console.log('Not run: the browser tests. Install chromium, or name one in CHROMIUM_PATH.')
  }
}

function ensureRedis() {
  if (existsSync(redisServer)) return
  install('redis-server')
  if (!existsSync(redisServer)) {
    console.log('Not run: the tests with jobs on Redis. Install redis-server.')
  }
}

function ensureBuilt() {
  for (const script of ['build:server', 'build:console']) {
    const built = run('npm', ['run', '--silent', script])
    if (built.status !== 0) throw new Error(`npm run ${script} failed`)
  }
}

const scratch = mkdtempSync(join(tmpdir(), 'runledger-test-'))
try {
  ensureBrowser()
  ensureRedis()
  ensureBuilt()
  const report = join(scratch, 'report.json')
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    'run',
    '--config',
    'test/vitest.config.ts',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]
  const ran = run(process.execPath, [vitest, ...args, ...process.argv.slice(2)])
  const { passed, failed, skipped } = count(report)
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = ran.status === 0 && failed === 0 && passed > 0 ? 0 : 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

// A file that did not load counts as one failure: its tests never got the chance to.
function count(report) {
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 }
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(
    readFileSync(report, 'utf8'),
  )
  const unloaded = testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  ).length
  return { passed: numPassedTests, failed: numFailedTests + unloaded, skipped: numPendingTests }
}
