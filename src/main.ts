// The command line: reads the environment, starts what was asked for, and stops it when told. Nothing else reads process.env.

import { closeSync, openSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { readSettings } from '../schemas/settings.ts'
import { doctor } from './cli/doctor.ts'
import { quarantine } from './cli/quarantine.ts'
import { seedCommand } from './cli/seed.ts'
import { verifyFile } from './cli/verify.ts'
import { startPlane } from './plane.ts'
import { welcome } from './welcome.ts'

const usage = `runledger [serve]            start the plane
runledger seed [--url U] [--key K] [--seed N]
                             send a believable day of traffic to a running plane
runledger verify FILE        check an evidence pack offline
runledger quarantine list | show NAME | retry NAME|--all | drop NAME|--all
                             rows that ClickHouse refused: what they are, and loading them again
runledger doctor             is this machine fit: settings, configuration, port, stores, lock, disk, fdatasync, clock
`

const [command = 'serve', ...args] = process.argv.slice(2)

try {
  await run(command)
} catch (error) {
  // A start that cannot succeed is answered with a sentence; the stack is for those who ask for it.
  console.error(
    process.env.RUNLEDGER_DEBUG ? error : error instanceof Error ? error.message : error,
  )
  process.exitCode = 1
}

async function run(name: string): Promise<void> {
  switch (name) {
    case 'serve':
      return serve()
    case 'seed':
      return seedCommand(args, process.env)
    case 'verify':
      return verifyFile(args)
    case 'quarantine':
      return quarantine(args, process.env)
    case 'doctor':
      return doctor(process.env)
    default:
      console.error(usage)
      process.exitCode = 2
  }
}

async function serve(): Promise<void> {
  // The buffers of requests are outside V8's heap and yet make it collect all of that heap. With twice the heap between two
  // collections a span costs 11.3 µs of CPU. With four times it cost 10.2, and 300 streams after ingest held 303 MiB in place of 220.
  // Whoever has 32 MiB more saves a sixth of a call's CPU at 32 connections: node --max-semi-space-size=32, on the command line only.
  setFlagsFromString('--heap-growing-percent=100')
  const settings = readSettings(process.env)
  const log = (line: string) => console.error(`${new Date().toISOString()} ${line}`)
  const stopping = new AbortController()
  const impatient = new AbortController()
  // The first signal stops in order; engines are out of reach of a terminal's Ctrl-C and end when told. The second does not
  // wait for streams that are still running.
  const stop = () => (stopping.signal.aborted ? impatient.abort() : stopping.abort())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})

  let reload: (() => Promise<boolean>) | undefined
  process.on('SIGHUP', () => (isTerminalGone() ? stop() : void reload?.()))
  const env = (name: string) => process.env[name]
  const plane = await startPlane(settings, { log, signal: stopping.signal, env })
  reload = plane.reload
  console.log(welcome(plane, settings))
  await new Promise<void>((resolve) => {
    if (stopping.signal.aborted) resolve()
    stopping.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await plane.stop(impatient.signal)
}

/** A hang-up is told in the word that asks for the configuration to be read again: was there a terminal, and is it still there? */
function isTerminalGone(): boolean {
  if (!process.stdout.isTTY && !process.stderr.isTTY) return false
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return false
  } catch {
    return true
  }
}
