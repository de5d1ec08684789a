// One webhook, signed as Standard Webhooks has it with Ed25519 (`v1a`): over id, time and body, by the key that signs records,
// whose public half is at /v1/vaas/keys. So no secret has to be shared.

import { type KeyObject, sign } from 'node:crypto'
import { type Outbound, OutboundError } from '../../collectors/proxy/outbound.ts'
import { post } from '../post.ts'

const deadlineMs = 10_000

export type Webhook = { id: string; url: string; body: string }
export type WebhookKey = { keyId: string; privateKey: KeyObject }

/** `dead`: an address that may not be reached; it will not become another one. */
export type Delivery =
  | { outcome: 'delivered' }
  | { outcome: 'later'; why: string }
  | { outcome: 'dead'; why: string }

export async function sendWebhook(
  deps: { outbound: Outbound; nowMs: () => number; isTrusted: boolean; signal: AbortSignal },
  webhook: Webhook,
  key: WebhookKey,
): Promise<Delivery> {
  const { outbound, isTrusted, signal } = deps
  const timestamp = String(Math.floor(deps.nowMs() / 1000))
  const signed = Buffer.from(`${webhook.id}.${timestamp}.${webhook.body}`)
  const headers = ['content-type', 'application/json', 'user-agent', 'runledger']
  headers.push('webhook-id', webhook.id, 'webhook-timestamp', timestamp)
  headers.push('webhook-signature', `v1a,${sign(null, signed, key.privateKey).toString('base64')}`)
  headers.push('webhook-key-id', key.keyId)
  const body = Buffer.from(webhook.body)
  try {
    const url = new URL(webhook.url)
    const { status } = await post(outbound, { url, headers, body, deadlineMs, isTrusted, signal })
    // 410: the address says that it wants no more.
    if (status === 410) return { outcome: 'dead', why: 'The address answered 410.' }
    if (status >= 200 && status < 300) return { outcome: 'delivered' }
    return { outcome: 'later', why: `The address answered ${status}.` }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof OutboundError)) throw error
    const outcome = error.kind === 'address_refused' ? 'dead' : 'later'
    return { outcome, why: error.message }
  }
}
