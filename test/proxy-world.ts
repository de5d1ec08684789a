// The proxy behind a real Koa server on a free port, over a scripted upstream, with real signatures and rows in memory.

import { createHash, generateKeyPairSync, hkdfSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Koa, { type Context } from 'koa'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import type { ProxyDeps } from '../collectors/proxy/call.ts'
import type { Job, Jobs } from '../collectors/proxy/jobs/job.ts'
import { type JobAnswers, jobAnswers } from '../collectors/proxy/jobs/job-answers.ts'
import { type MediaStore, openMediaStore } from '../collectors/proxy/media/store.ts'
import { operations } from '../collectors/proxy/operations.ts'
import { createOutbound } from '../collectors/proxy/outbound.ts'
import { inference, throughKoa } from '../collectors/proxy/route.ts'
import { ProviderKeys } from '../collectors/proxy/targets/provider-keys.ts'
import { openRoutes, type Routes } from '../collectors/proxy/targets/routes.ts'
import type { Upstream } from '../collectors/proxy/upstream.ts'
import { runs } from '../collectors/run/route.ts'
import type { Caller } from '../schemas/caller.ts'
import { toCommittedText } from '../schemas/commit.ts'
import { readConfig } from '../schemas/config-file.ts'
import type { Counters } from '../schemas/counters.ts'
import { toFault } from '../schemas/faults.ts'
import { newId, toPrefixed } from '../schemas/ids.ts'
import { createSigner } from '../src/records/signer.ts'
import { type CollectingIntake, collectingIntake } from './proxy-intake.ts'
import { type ScriptedUpstream, startUpstream } from './upstream.ts'

export const workspace = '0190a000-0000-7000-8000-000000000001'
export const upstreamKey = 'sk-upstream-secret'

export type ProxyWorld = {
  url: string
  baseUrl: string
  upstream: ScriptedUpstream
  intake: CollectingIntake
  counted: Map<string, number>
  media: MediaStore
  mediaDir: string
  /** Whoever calls from now on. */
  caller: Caller
  post(body: unknown, headers?: Record<string, string>): Promise<Response>
  postTo(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>
  end(): Promise<void>
}

export async function startProxy(
  more: Partial<ProxyDeps> & {
    ttftTimeoutMs?: number
    idleTimeoutMs?: number
    /** Whether the upstream has `/responses`. */
    responses?: boolean
    caller?: Partial<Caller>
    /** `runledger.json` in place of one route to the scripted upstream. The variable X holds the key `sk-X`. */
    file?: object
    /** Answers every call instead of the scripted one. */
    upstream?: Upstream
  } = {},
): Promise<ProxyWorld> {
  const upstream = await startUpstream()
  const outbound = createOutbound()
  const intake = collectingIntake()
  const counted = new Map<string, number>()
  const {
    ttftTimeoutMs = 30_000,
    idleTimeoutMs = 60_000,
    file,
    responses,
    caller,
    upstream: only,
    ...overrides
  } = more
  const timeouts = {
    ttft_timeout_ms: ttftTimeoutMs,
    answer_timeout_ms: ttftTimeoutMs,
    idle_timeout_ms: idleTimeoutMs,
  }
  const openai = {
    id: 'openai',
    baseUrl: upstream.baseUrl,
    apiKeys: [upstreamKey],
    responses,
  }
  const route = { id: 'default-route', public_label: 'default', targets: [{ provider: 'openai' }] }
  const config = readConfig(JSON.stringify(file ?? { routes: [{ ...route, ...timeouts }] }), {
    env: (name) => `sk-${name}`,
    known: [openai],
  })
  const counters: Counters = {
    count(name, labels, by = 1) {
      const key = `${name}${JSON.stringify(labels)}`
      counted.set(key, (counted.get(key) ?? 0) + by)
    },
  }
  const live = openRoutes(config, { outbound, counters, nowMs: more.nowMs ?? Date.now })
  const mediaDir = mkdtempSync(join(tmpdir(), 'runledger-media-'))
  const deps: ProxyDeps = {
    routes: only ? answeredBy(live, only) : live,
    intake,
    envelopes: new EnvelopeBook(),
    signerOf: testSigners(),
    prompts: { link: (_workspace, slug, version) => `${slug}@${version ?? 'v7'}` },
    counters,
    jobs: jobsInMemory(),
    media: openMediaStore({ dir: mediaDir, counters, nowMs: Date.now }),
    nowMs: Date.now,
    environment: 'test',
    ...overrides,
  }
  const asCaller: Caller = {
    workspace,
    keyId: 'key_1',
    scopes: ['proxy', 'ingest'],
    by: 'key',
    ...caller,
  }
  const server = listen(deps, asCaller)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  const url = `http://127.0.0.1:${port}`
  const postTo: ProxyWorld['postTo'] = (path, body, headers = {}) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  return {
    url,
    baseUrl: `${url}/v1`,
    upstream,
    intake,
    counted,
    media: deps.media,
    mediaDir,
    caller: asCaller,
    post: (body, headers) => postTo('/v1/chat/completions', body, headers),
    postTo,
    async end() {
      server.closeAllConnections()
      server.close()
      await outbound.close(0)
      await upstream.close()
      await deps.media.flush()
      rmSync(mediaDir, { recursive: true, force: true })
    },
  }
}

/** The law of `Jobs` without a database; the real one stands behind the started plane. */
function jobsInMemory(): Jobs {
  const jobs = new Map<string, Job>()
  const claimed = new Set<string>()
  const keyOf = ({ workspace: of, id }: Pick<Job, 'workspace' | 'id'>) => `${of} ${id}`
  return {
    async open(job) {
      if (jobs.has(keyOf(job))) return false
      jobs.set(keyOf(job), job)
      return true
    },
    find: async (of, id) => jobs.get(keyOf({ workspace: of, id })),
    findByFile: async (of, fileId) =>
      [...jobs.values()].find((job) => job.workspace === of && job.fileId === fileId),
    async closeOnce(job, close) {
      if (claimed.has(keyOf(job))) return job.receipt
      claimed.add(keyOf(job))
      return close()
    },
    async close(job, receipt) {
      jobs.set(keyOf(job), { ...job, receipt })
    },
  }
}

/** The same routes with one target, which is asked whatever the configuration says. */
function answeredBy(routes: Routes, upstream: Upstream): Routes {
  return {
    captureRequired: true,
    provider: () => ({ upstream, keys: new ProviderKeys([]) }),
    get(model, pin) {
      const route = routes.get(model, pin)
      return { ...route, targets: [{ ...route.targets[0]!, upstream }] }
    },
  }
}

/** The doors as the plane opens them: a caller, a request id, and faults as answers. */
function listen(deps: ProxyDeps, caller: Caller): Server {
  const app = new Koa()
  app.silent = true
  const infer = inference(deps)
  const byPath = new Map(
    operations.flatMap((operation) =>
      operation.paths.map((path) => [path, throughKoa(infer(operation))]),
    ),
  )
  const jobs = jobAnswers(deps)
  const native = runs({
    ...deps,
    idSecret: new Uint8Array(32).fill(9),
    findRuns: async () => new Map(),
  })
  app.use(async (ctx: Context) => {
    ctx.state.caller = caller
    ctx.state.requestId = ctx.get('x-request-id') || toPrefixed('req', newId())
    ctx.set('X-Request-Id', ctx.state.requestId)
    try {
      if (ctx.method === 'GET') await getJob(jobs, ctx)
      else await (byPath.get(ctx.path) ?? native)(ctx)
    } catch (error) {
      const fault = toFault(error)
      ctx.status = fault.status
      ctx.set(fault.detail.headers ?? {})
      ctx.body = fault.toBody()
    }
  })
  return app.listen(0, '127.0.0.1')
}

function getJob(jobs: JobAnswers, ctx: Context): Promise<void> {
  const [, , kind, id = '', content] = ctx.path.split('/')
  if (kind === 'files') return jobs.fileContent(ctx, id)
  return content ? jobs.videoContent(ctx, id) : jobs.video(ctx, id)
}

const subjectKey = new Uint8Array(32).fill(7)

export function testSigners(): ProxyDeps['signerOf'] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const key = {
    keyId: 'key-of-the-test',
    publicKeyText: `ed25519:pk_${raw.toString('base64url')}`,
    privateKey,
  }
  const signers = new Map<string, Promise<ReturnType<typeof createSigner>>>()
  return (of) => {
    const known = signers.get(of)
    if (known) return known
    const made = Promise.resolve(
      createSigner({ workspace: of, subjectKey, key, tierOf: () => undefined }),
    )
    signers.set(of, made)
    return made
  }
}

/** The commitment to an output, reckoned from its definition. */
export function outputHashOf(recordId: string, output: unknown): string {
  const inner = createHash('sha256')
    .update(toCommittedText(output)?.text ?? '')
    .digest()
  const salt = hkdfSync('sha256', subjectKey, recordId, 'vaas/v1/salt/output', 32)
  const whole = createHash('sha256').update('vaas/v1/output\0').update(new Uint8Array(salt))
  return `sha256:${whole.update(inner).digest('hex')}`
}

/** Waits until something holds; says what when it does not within five seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`It did not come about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
