// How far the drain is and what it has decided: one small file, replaced whole.
// Law: a decision is on disk before the first insert that depends on it, so that a retry sends the same under the same token.

import { crc32 } from 'node:zlib'
import type { TableName } from '../../schemas/tables.ts'
import type { Position } from './chunk.ts'
import { type Disk, loadFile, replaceFile } from './disk.ts'

const name = 'drain.json'

export type TablePlan = { table: TableName; rows: number; bytes: number; token: string }

export type DrainPlan = {
  /** The batch goes from the cursor to here. */
  to: Position
  tables: TablePlan[]
  /** Ranges that ClickHouse refused for good, and that therefore were split or set aside. Never sent whole again. */
  refused: string[]
}

export type DrainState = {
  cursor: Position
  /** Every row before the cursor has a smaller `ingest_seq`. */
  seq: bigint
  plan: DrainPlan | undefined
}

/** The file was read, and is not what was written. */
export class DamagedDrainFile extends Error {}

/** Undefined: there is none yet. Throws `DamagedDrainFile`, or what the disk says when it cannot be read now. */
export async function loadDrainState(disk: Disk, dir: string): Promise<DrainState | undefined> {
  const bytes = await loadFile(disk, `${dir}/${name}`)
  if (!bytes) return undefined
  const [text = '', sum] = bytes.toString('utf8').split('\n')
  if (sum !== checksum(text)) throw new DamagedDrainFile(`${name} does not match its checksum`)
  const state = JSON.parse(text) as Omit<DrainState, 'seq'> & { seq: string } // its checksum holds: we wrote it
  return { cursor: state.cursor, seq: BigInt(state.seq), plan: state.plan ?? undefined }
}

export async function saveDrainState(disk: Disk, dir: string, state: DrainState): Promise<void> {
  const text = JSON.stringify({ ...state, seq: String(state.seq) })
  await replaceFile(disk, { dir, name }, [Buffer.from(`${text}\n${checksum(text)}\n`)])
}

function checksum(text: string): string {
  return crc32(text).toString(16)
}
