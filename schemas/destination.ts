// A destination: an OTLP endpoint outside that gets every span of a workspace, as it was accepted. What a caller may say of one.

import { z } from 'zod'

const headersMax = 32
const headerBytesMax = 4_096
const patternsMax = 200

/** Says where a push comes from, so that an installation knows its own when one comes back. */
export const viaHeader = 'x-runledger-via'

// Those that describe the connection or the body are ours to write.
const ownHeaders = new Set([
  'host',
  'connection',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'expect',
  'proxy-connection',
  viaHeader,
])

const patterns = z.array(z.string().min(1).max(256)).max(patternsMax)

const headers = z
  .record(
    z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, 'is not a header name'),
    z
      .string()
      .max(headerBytesMax)
      .regex(/^[\t\x20-\x7e]*$/, 'must be printable ASCII'),
  )
  .refine((given) => Object.keys(given).length <= headersMax, `at most ${headersMax} headers`)
  .refine((given) => !Object.keys(given).some((name) => ownHeaders.has(name.toLowerCase())), {
    message: `may not name ${[...ownHeaders].join(', ')}`,
  })

export const destinationInput = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, . _ -'),
  /** As it is; when its path is empty or ends in a slash, `v1/traces` is added (OTLP exporter specification). */
  url: z.string().max(2_048).refine(isHttpUrl, 'must be an http or https URL without a password'),
  protocol: z.enum(['http/protobuf', 'http/json']).default('http/protobuf'),
  headers: headers.default({}),
  compression: z.enum(['gzip', 'none']).default('gzip'),
  /** The filters of GET /v1/traces by their names; `attr.<key>` too. */
  filter: z.record(z.string(), z.string().max(1_000)).default({}),
  redact: z
    .strictObject({
      content: z.boolean().default(false),
      attributes: patterns.default([]),
      allow: patterns.optional(),
    })
    .default({ content: false, attributes: [] }),
  /** `now`: spans accepted from now on. `start`: all that are stored. */
  from: z.enum(['now', 'start']).default('now'),
})

export type DestinationInput = z.infer<typeof destinationInput>

function isHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, username, password } = new URL(text)
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === ''
}
