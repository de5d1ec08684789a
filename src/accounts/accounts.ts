// Who may call and what we sign with, once Postgres is there.

import { hkdfSync } from 'node:crypto'
import type { Settings } from '../../schemas/settings.ts'
import { type Ledger, openLedger } from '../records/ledger.ts'
import { loadMasterKey } from '../seal.ts'
import { type Keys, openKeys, type Sql } from './keys.ts'

export type Accounts = {
  keys: Keys
  ledger: Ledger
  /** Seals what a table may not hold in clear (seal.ts). */
  masterKey: Uint8Array
  /** Names all planes that share these stores, and tells nothing of their key. */
  installation: string
  /** From which the ids of runs that name themselves follow; the same on every process that has the master key. */
  idSecret: Uint8Array
  /** Seals answers that are kept to be given again. */
  answerKey: Uint8Array
}

const derivedBytes = 32

export async function loadAccounts(deps: {
  settings: Settings
  dataDir: string
  sql: Sql
  nowMs: () => number
}): Promise<Accounts> {
  const { settings, sql, nowMs } = deps
  const masterKey = await loadMasterKey({ given: settings.masterKey, dataDir: deps.dataDir })
  const ledger = await openLedger({ sql, masterKey, now: nowMs })
  const derive = (purpose: string) =>
    new Uint8Array(hkdfSync('sha256', masterKey, '', purpose, derivedBytes))
  const idSecret = derive('runledger/run-ids')
  const answerKey = derive('runledger/kept-answers')
  const installation = Buffer.from(derive('runledger/installation')).toString('hex', 0, 16)
  return { keys: openKeys(sql, nowMs), ledger, masterKey, idSecret, answerKey, installation }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
