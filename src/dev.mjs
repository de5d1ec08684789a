// `npm run dev`: the plane restarts when its sources change, and the console reloads in the browser.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const vite = `${root}node_modules/vite/bin/vite.js`
const main = `${root}dist/server/main.js`

const consolePort = '5173'

const run = (...args) => spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })

run(vite, 'build', '--watch', '--config', 'src/vite.config.ts')
while (!existsSync(main)) await wait(100)
run('--watch-path=dist/server', main)
run(vite, '--config', 'dashboards/console/vite.config.ts', '--port', consolePort, '--strictPort')
console.error(`The console, reloading as it changes: http://localhost:${consolePort}/console/`)
