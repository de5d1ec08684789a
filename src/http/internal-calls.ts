// This process calling its own /v1, as replays do: a token made at its start, known to nobody else, that names a workspace.

import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import { parseUuid } from '../../schemas/ids.ts'

export type InternalCalls = {
  token: string
  /** The caller behind the token and its workspace header; undefined for any other token. */
  find(token: string, headers: IncomingHttpHeaders): Caller | undefined
}

export function openInternalCalls(): InternalCalls {
  const token = `internal_${randomBytes(32).toString('base64url')}`
  const expected = Buffer.from(token)
  return {
    token,
    find(given, headers) {
      const bytes = Buffer.from(given)
      if (bytes.length !== expected.length || !timingSafeEqual(bytes, expected)) return undefined
      const workspace = headers['x-batchin-workspace']
      if (typeof workspace !== 'string' || parseUuid(workspace) === undefined) return undefined
      // No key: what is limited and counted by key does not concern it.
      return { workspace, keyId: '', scopes: ['proxy'], by: 'internal' }
    },
  }
}
