// The one screen that a start prints.

import type { Settings } from '../schemas/settings.ts'

export type Welcome = {
  url: string
  version: string
  /** The key in clear, when this start made one. */
  madeKey: string | undefined
  provider: string
  otlpGrpcPort: number | undefined
  startedInMs: number
}

export function welcome(plane: Welcome, settings: Settings): string {
  const key =
    plane.madeKey ?? (settings.bootstrapKey ? '$RUNLEDGER_BOOTSTRAP_KEY' : '<your API key>')
  const upstream =
    settings.openaiBaseUrl ??
    'none: the sandbox provider answers, offline and deterministic (not a model)'
  return [
    '',
    `  Runledger ${plane.version}, ready in ${(plane.startedInMs / 1000).toFixed(1)} s`,
    '',
    `  API        ${plane.url}/v1      OTLP  ${plane.url}/v1/otlp`,
    ...(plane.otlpGrpcPort ? [`  OTLP/gRPC  http://${settings.host}:${plane.otlpGrpcPort}`] : []),
    `  Console    ${plane.url}/console/traces`,
    `  ClickHouse ${settings.clickhouseUrl ? 'yours' : 'embedded'}      Postgres  ${settings.databaseUrl ? 'yours' : 'embedded'}      data in ${settings.dataDir}`,
    `  Upstream   ${upstream}`,
    ...(plane.madeKey ? ['', '  Your API key, shown this once:', `  ${plane.madeKey}`] : []),
    '',
    '  Try it:',
    `  curl -si ${plane.url}/v1/chat/completions -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" \\`,
    `    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'`,
    '',
  ].join('\n')
}
