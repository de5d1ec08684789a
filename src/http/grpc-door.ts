// OTLP over gRPC beside the HTTP server: the same address, the same keys, the same bodies in flight.

import type { OtlpGrpc, OtlpGrpcDeps } from '../../collectors/otlp/grpc.ts'
import type { Settings } from '../../schemas/settings.ts'
import { bearerToken, withScope } from '../accounts/access.ts'
import type { Keys } from '../accounts/keys.ts'
import { toSentence } from './listener.ts'

/** What both OTLP doors share. */
export type OtlpShared = Omit<OtlpGrpcDeps, 'admit' | 'log'>

/** Nothing when no port is set. Rejects with a sentence when the port is taken or not ours. */
export async function openGrpcDoor(
  settings: Settings,
  deps: OtlpShared & { keys: Keys; log: (line: string) => void },
): Promise<OtlpGrpc | undefined> {
  const { host, otlpGrpcPort: port } = settings
  if (port === undefined) return undefined
  // Loaded only when asked for: a start without it need not wait for a package it does not use.
  const { openOtlpGrpc } = await import('../../collectors/otlp/grpc.ts')
  return openOtlpGrpc({ ...deps, admit: admitBy(deps.keys) }, { host, port }).catch(
    (error: NodeJS.ErrnoException) => {
      throw new Error(toSentence(error, { host, port }, 'OTLP_GRPC_PORT'), { cause: error })
    },
  )
}

/** The key lookup and the scope of the HTTP paths. */
export function admitBy(keys: Pick<Keys, 'find'>): OtlpGrpcDeps['admit'] {
  return async (authorization) => {
    const token = bearerToken(authorization)
    return withScope(token === undefined ? undefined : await keys.find(token), 'ingest')
  }
}
