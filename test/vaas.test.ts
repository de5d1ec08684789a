// VaaS on the wire: records made, read, verified, taken away, opened.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId, parsePrefixed, toUuid } from '../schemas/ids.ts'
import { type Check, toVerdict, verifyEvidence } from '../schemas/verify.ts'
import { input, output, workspace } from './signed.ts'
import { startVaasWorld, type VaasWorld } from './vaas-world.ts'

let world: VaasWorld
let roots: string[]
beforeAll(async () => {
  world = await startVaasWorld()
  roots = [world.ledger.root]
})
afterAll(() => world?.end())

const posted = {
  input_text: 'What is a zero-knowledge proof?',
  output_text: 'A cryptographic method…',
  model_id: 'qwen3.5-27b',
  gpu_id: 'execution-a19c-42ef',
}

test('the evidence of a run, as the API answers it, verifies offline and is refused with any word changed', async () => {
  const { id, begun, final } = await world.sign()
  await world.store(begun, final)
  const { status, body } = await world.ask(`/v1/vaas/${id}/evidence`)
  expect(status).toBe(200)
  const text = JSON.stringify(body)
  expect(toVerdict(await verifyEvidence(text, { roots }))).toBe('valid')
  const changed = text.replace('"status":"completed"', '"status":"truncated"')
  expect(toVerdict(await verifyEvidence(changed, { roots }))).toBe('invalid')
  expect(Buffer.from(JSON.stringify(body.payload))).toEqual(final.canonical)
  const verified = await world.ask(`/v1/vaas/${id}/verify`)
  expect(verified.body).toMatchObject({ record_id: id, valid: true, performed_by: 'issuer' })
  expect(await world.ask(`/v1/vaas/${id}/evidence`)).toMatchObject({ body }) // the proof is the same each time
})

test('stored bytes that were changed are found by /verify', async () => {
  const { id, begun, final } = await world.sign()
  const canonical = Buffer.from(
    String(final.canonical).replace('"output_tokens":4', '"output_tokens":3'),
  )
  await world.store(begun, { ...final, canonical })
  const { body } = await world.ask(`/v1/vaas/${id}/verify`)
  expect(body.valid).toBe(false)
  const failed = (body.checks as Check[]).filter((check) => check.ok === false)
  expect(failed.map((check) => check.name)).toEqual(['signature_noble', 'signature_webcrypto'])
})

test('a record is found under both spellings of its id and both prefixes, and its answer quotes no text', async () => {
  const { id, call, final } = await world.sign()
  await world.store(final)
  const paths = [
    `/v1/vaas/${id}`,
    `/v1/vaas/${toUuid(call.recordId)}`,
    `/v1/audit/${toUuid(call.recordId)}`,
  ]
  const answers = await Promise.all(paths.map((path) => world.ask(path)))
  expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1)
  const text = JSON.stringify(answers[0]!.body)
  expect(text).not.toContain('ok ✓')
  expect(text).not.toContain(workspace)
  expect(answers[0]!.body).toMatchObject({
    audit_id: toUuid(call.recordId),
    record_id: id,
    input_hash: final.inputHash!.slice(7),
    output_hash: final.outputHash!.slice(7),
    signature: Buffer.from(final.signature).toString('hex'),
    energy_source: 'grid:US:2025:owid@ecologits-0.9.1',
    risk_score: null,
    phase: 'final',
    status: 'completed',
  })
})

test('while only the opening record exists every view says 202, and when to come back', async () => {
  const { id, begun, final } = await world.sign()
  await world.store(begun)
  for (const view of ['', '/verify', '/evidence']) {
    const { status, headers, body } = await world.ask(`/v1/vaas/${id}${view}`)
    expect([status, headers.get('retry-after'), body.status, body.output_hash]).toEqual([
      202,
      '2',
      'open',
      null,
    ])
  }
  world.waiting.push(final)
  expect(await world.ask(`/v1/vaas/${id}`)).toMatchObject({
    status: 200,
    body: { status: 'completed' },
  })
})

test('a record that was just accepted is found after one flush, and one that is there asks for none', async () => {
  const { id, final } = await world.sign()
  world.waiting.push(final)
  const before = world.flushed
  expect((await world.ask(`/v1/vaas/${id}`)).status).toBe(200)
  expect((await world.ask(`/v1/vaas/${id}`)).status).toBe(200)
  expect(world.flushed - before).toBe(1)
})

test('of two final records the first stands', async () => {
  const { id, call, final } = await world.sign()
  const other = (await world.ledger.signerOf(workspace)).final({ ...call, status: 'interrupted' })
  await world.store(final)
  await world.store(other)
  expect((await world.ask(`/v1/vaas/${id}`)).body.status).toBe('completed')
})

test('the salts go to the owner alone, and open the commitments', async () => {
  const { id, begun, final } = await world.sign()
  await world.store(begun, final)
  const path = `/v1/vaas/${id}/disclosure`
  const { body, headers } = await world.ask(path, { as: 'owner' })
  expect(headers.get('cache-control')).toBe('no-store')
  const disclosed = { ...body, input: JSON.stringify(input), output: JSON.stringify(output) }
  const pack = (await world.ask(`/v1/vaas/${id}/evidence`)).body
  const checks = await verifyEvidence(pack, { roots, disclosed })
  expect(checks.find((check) => check.name === 'disclosure')).toMatchObject({ ok: true })
  expect(JSON.stringify(pack)).not.toContain(String(body.input_salt))
  const [none, stranger] = await Promise.all([world.ask(path), world.ask(path, { as: 'stranger' })])
  expect([none.status, stranger.status]).toEqual([401, 404])
})

test.each(['/v1/vaas', '/v1/audit'])('POST %s makes a record that stands at once', async (path) => {
  const { status, body } = await world.ask(path, { as: 'owner', post: posted })
  expect(status).toBe(200)
  expect(body).toMatchObject({
    energy_wh: expect.any(Number),
    carbon_grams_co2e: expect.any(Number),
    energy_source: 'grid:WOR:2025:owid@ecologits-0.9.1',
    carbon_offset_vs_us_cloud: expect.any(Number),
    risk_score: null,
    usage_estimated: true,
    gpu_id: posted.gpu_id,
    run_id: null,
  })
  expect(String(body.signature)).toMatch(/^[0-9a-f]{128}$/)
  expect(parsePrefixed('vaas', String(body.record_id))).toBeDefined()
  expect((await world.ask(`/v1/vaas/${body.audit_id}`)).body).toEqual(body)
  const salts = (await world.ask(`/v1/vaas/${body.audit_id}/disclosure`, { as: 'owner' })).body
  const pack = (await world.ask(`/v1/vaas/${body.audit_id}/evidence`)).body
  const disclosed = { ...salts, input: posted.input_text, output: posted.output_text }
  const checks = await verifyEvidence(pack, { roots, disclosed })
  expect([toVerdict(checks), checks.at(-1)]).toMatchObject(['valid', { ok: true }])
})

test.each<[string, unknown, string | null]>([
  ['no text', { ...posted, input_text: undefined }, 'input_text'],
  ['a number for a text', { ...posted, output_text: 7 }, 'output_text'],
  ['an empty model', { ...posted, model_id: '' }, 'model_id'],
  ['an environment that is free text', { ...posted, gpu_id: 'Alice’s machine' }, 'gpu_id'],
  ['no object', [], null],
])('a record of %s is refused, naming the field', async (_, post, param) => {
  const { status, body } = await world.ask('/v1/vaas', { as: 'owner', post })
  expect([status, (body.error as { param: string | null }).param]).toEqual([400, param])
})

test('making a record needs the scope proxy', async () => {
  expect((await world.ask('/v1/vaas', { post: posted })).status).toBe(401)
  expect((await world.ask('/v1/vaas', { as: 'reader', post: posted })).status).toBe(403)
})

test('an opening record that the final one does not name is left out, and the rest is valid', async () => {
  const { id, call, begun } = await world.sign()
  const closed = { ...call, status: 'interrupted' as const, output: undefined, usage: undefined }
  const final = (await world.ledger.signerOf(workspace)).final(closed)
  await world.store(begun, final)
  const { body } = await world.ask(`/v1/vaas/${id}/evidence`)
  expect([body.begin, toVerdict(await verifyEvidence(body, { roots }))]).toEqual([null, 'valid'])
  expect((await world.ask(`/v1/vaas/${id}`)).body).toMatchObject({
    status: 'interrupted',
    output_hash: null,
    energy_wh: null,
  })
})

test('a private route shows its public label, and nothing its provider would be known by', async () => {
  const { id, begun, final } = await world.sign({
    routePublic: false,
    routeId: 'secret-route',
    provider: 'openai',
    upstream: { responseId: 'chatcmpl-9', systemFingerprint: 'fp_9', requestId: 'req_9' },
  })
  await world.store(begun, final)
  const { body } = await world.ask(`/v1/vaas/${id}/evidence`)
  expect(body).toMatchObject({ public_route_label: 'managed-text', route_id: null, provider: null })
  expect(JSON.stringify(body)).not.toMatch(/secret-route|openai|chatcmpl-9|fp_9|req_9|grid:US/)
  expect(toVerdict(await verifyEvidence(body, { roots }))).toBe('valid')
})

test('the keys are public: the current one, and all with their certificates', async () => {
  const current = (await world.ask('/v1/vaas/pubkey/current')).body
  expect(current).toMatchObject({ status: 'active', root: world.ledger.root })
  expect(String(current.verify_key_hex)).toMatch(/^[0-9a-f]{64}$/)
  expect((await world.ask('/v1/audit/pubkey/current')).body).toEqual(current)
  const { items } = (await world.ask('/v1/vaas/keys')).body as { items: { purpose: string }[] }
  expect(items.map((key) => key.purpose).sort()).toEqual(['record', 'root'])
  expect(JSON.stringify(items)).not.toContain('seed')
})

test.each([
  '/v1/vaas/nonsense',
  `/v1/vaas/${toUuid(newId())}`,
  `/v1/vaas/vaas_${'0'.repeat(26)}/evidence`,
  '/v1/vaas/log/checkpoint',
  '/v1/vaas/log/tile/0/000',
  `/v1/audit/${'ab'.repeat(32)}`,
])('%s is not there, and says so', async (path) => {
  expect(await world.ask(path)).toMatchObject({
    status: 404,
    body: { error: { code: 'not_found' } },
  })
})
