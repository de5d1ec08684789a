// The configuration that is in force: `runledger.json` as it was last read without a mistake. A file that changes is read
// again; a bad one changes nothing and says so.

import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Config, Provider } from '../schemas/config.ts'
import {
  ConfigMistakes,
  type ConfigSource,
  defaultConfig,
  readConfig,
} from '../schemas/config-file.ts'
import type { Counters } from '../schemas/counters.ts'
import type { Settings } from '../schemas/settings.ts'

const defaultFile = 'runledger.json'
// A look at the file's date each time: what an editor renames, or a mount swaps, is seen as well as what is written.
const lookEveryMs = 1_000

export type LiveConfig = {
  current(): Config
  /** Called with each configuration that replaces another. */
  onChange(listener: (config: Config) => void): void
  /** Reads the file now. Resolves to false when it was bad and the one before stays. */
  reload(): Promise<boolean>
  /** For /healthz, which anyone may read: since when it holds, and how many mistakes a file that was refused has. The log names them. */
  describe(): { loaded_at: string; mistakes: number }
  close(): void
}

export type ConfigDeps = {
  settings: Pick<Settings, 'configFile' | 'openaiBaseUrl' | 'openaiApiKey'>
  env: (name: string) => string | undefined
  counters: Counters
  nowMs: () => number
  log: (line: string) => void
}

/** Throws one Error with every mistake when the file cannot be used. No file, and none asked for: the default holds. */
export async function openConfig(deps: ConfigDeps): Promise<LiveConfig> {
  const { settings, counters, log, nowMs } = deps
  const path = resolve(settings.configFile ?? defaultFile)
  const listeners: ((config: Config) => void)[] = []
  let config: Config
  let mark = await markOf(path)
  if (mark === undefined && settings.configFile !== undefined)
    throw new Error(`RUNLEDGER_CONFIG names ${settings.configFile}, which is not there.`)
  try {
    config = await load(path, mark, deps)
  } catch (error) {
    throw new Error(`${path} cannot be used:\n  ${mistakesOf(error).join('\n  ')}`)
  }
  let loadedAtMs = nowMs()
  let mistakes: readonly string[] = []

  async function reload(): Promise<boolean> {
    try {
      mark = await markOf(path)
      if (mark === undefined) throw new ConfigMistakes(['it is not there any more'])
      config = await load(path, mark, deps)
    } catch (error) {
      mistakes = mistakesOf(error)
      counters.count('config_reloads_total', { result: 'refused' })
      log(`${path} was not loaded, and the one before stays:\n  ${mistakes.join('\n  ')}`)
      return false
    }
    mistakes = []
    loadedAtMs = nowMs()
    counters.count('config_reloads_total', { result: 'loaded' })
    log(`${path} was loaded.`)
    for (const listener of listeners) listener(config)
    return true
  }

  // One look at a time; a file that was refused is not read again before it changes.
  let isLooking = false
  const timer = setInterval(async () => {
    if (isLooking) return
    isLooking = true
    try {
      const seen = await markOf(path)
      if (seen !== mark) await reload()
    } finally {
      isLooking = false
    }
  }, lookEveryMs).unref()

  return {
    current: () => config,
    onChange: (listener) => void listeners.push(listener),
    reload,
    describe: () => ({ loaded_at: new Date(loadedAtMs).toISOString(), mistakes: mistakes.length }),
    close: () => clearInterval(timer),
  }
}

async function load(path: string, mark: string | undefined, deps: ConfigDeps): Promise<Config> {
  const unset = new Set<string>()
  const source: ConfigSource = {
    known: knownProviders(deps.settings),
    env(name) {
      const text = deps.env(name)
      if (!text) unset.add(name)
      return text || undefined
    },
  }
  if (mark === undefined) return defaultConfig(source)
  const config = readConfig(await readFile(path, 'utf8'), source)
  // No mistake: an upstream of one's own may need no key.
  if (unset.size > 0) deps.log(`${path} names keys that are not set: ${[...unset].join(', ')}.`)
  return config
}

/** The sandbox, and the provider at OPENAI_BASE_URL. */
function knownProviders(settings: ConfigDeps['settings']): Provider[] {
  const sandbox = { id: 'sandbox', baseUrl: undefined, apiKeys: [], responses: undefined }
  if (!settings.openaiBaseUrl) return [sandbox]
  const apiKeys = settings.openaiApiKey ? [settings.openaiApiKey] : []
  return [{ id: 'openai', baseUrl: settings.openaiBaseUrl, apiKeys, responses: undefined }, sandbox]
}

/** What tells one state of a file from another; undefined when there is none. */
async function markOf(path: string): Promise<string | undefined> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function mistakesOf(error: unknown): readonly string[] {
  if (error instanceof ConfigMistakes) return error.mistakes
  return [error instanceof Error ? error.message : String(error)]
}
