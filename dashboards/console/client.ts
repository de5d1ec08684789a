// Every call the console makes: one door to the API, and one query per kind of server data.

import {
  infiniteQueryOptions,
  keepPreviousData,
  QueryClient,
  queryOptions,
} from '@tanstack/react-query'
import { link, query, type TraceFilters, toApi } from './url.ts'
import {
  readSession,
  readSpan,
  readTrace,
  readTraces,
  type Session,
  type TraceItem,
} from './wire.ts'
import { readExperimentDetail, readExperiments } from './wire-experiments.ts'
import { readDiff, readHistory, readPrompts, readRegistry } from './wire-prompts.ts'

const pageSize = 100
const deadlineMs = 30_000
export const liveEveryMs = 4000

/** An answer that is not 2xx, or none at all (`status` 0). `message` is fit to be shown. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly status: number
  readonly requestId: string | null
  constructor(status: number, message: string, requestId: string | null) {
    super(message)
    this.status = status
    this.requestId = requestId
  }
}

type Page = { items: TraceItem[]; next: string | null; from: string }
type PageParam = { cursor: string; from: string } | null

// Data is replaced whole: comparing 50,000 spans deeply to save a render costs more than the render.
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      structuralSharing: false,
      refetchOnWindowFocus: false,
      retry: (failures, error) =>
        failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
    },
  },
})

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async ({ signal }): Promise<Session | null> => {
    try {
      return readSession(await get('/console/session', signal))
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null
      throw error
    }
  },
  staleTime: 60_000,
})

export function tracesQuery(filters: TraceFilters) {
  return infiniteQueryOptions({
    queryKey: ['traces', filters],
    initialPageParam: null as PageParam, // the type of the later params; the first page has none
    queryFn: async ({ pageParam, signal }): Promise<Page> => {
      // Older pages keep the window of the first: a cursor belongs to the filters it was made with.
      const asked = toApi(filters, Date.now())
      const from = pageParam?.from ?? asked.from ?? ''
      const search = query({
        ...asked,
        from,
        limit: String(pageSize),
        cursor: pageParam?.cursor ?? '',
      })
      return { ...readTraces(await get(`/v1/traces${search}`, signal)), from }
    },
    getNextPageParam: (last): PageParam | undefined =>
      last.next === null ? undefined : { cursor: last.next, from: last.from },
    placeholderData: keepPreviousData,
  })
}

/** Whether the workspace holds any trace at all: decides which of the two empty states is the honest one. */
export const anyTraceQuery = queryOptions({
  queryKey: ['any-trace'],
  queryFn: async ({ signal }) =>
    readTraces(await get('/v1/traces?limit=1', signal)).items.length > 0,
})

export function traceQuery(traceId: string) {
  return queryOptions({
    queryKey: ['trace', traceId],
    queryFn: async ({ signal }) =>
      readTrace(await get(`/v1/traces/${encodeURIComponent(traceId)}`, signal)),
    staleTime: 30_000,
  })
}

export function spanQuery(traceId: string, spanId: string) {
  const path = `/v1/traces/${encodeURIComponent(traceId)}/spans/${encodeURIComponent(spanId)}`
  return queryOptions({
    queryKey: ['span', traceId, spanId],
    queryFn: async ({ signal }) => readSpan(await get(path, signal)),
    staleTime: 300_000,
  })
}

// Versions are found and moved by others than the reader: every page of prompts asks again while it is looked at.
export const promptsQuery = queryOptions({
  queryKey: ['prompts'],
  queryFn: async ({ signal }) => readPrompts(await get('/v1/prompts', signal)),
  refetchInterval: liveEveryMs,
})

const ofPrompt = (registryId: string) => `/v1/prompts/${encodeURIComponent(registryId)}`

export function promptQuery(registryId: string) {
  return queryOptions({
    queryKey: ['prompt', registryId],
    queryFn: async ({ signal }) => readRegistry(await get(ofPrompt(registryId), signal)),
    refetchInterval: liveEveryMs,
  })
}

/** What is different between two versions; both are content, so the answer only changes while one is still being learned. */
export function promptDiffQuery(registryId: string, from: string, to: string) {
  return queryOptions({
    queryKey: ['prompt', registryId, 'diff', from, to],
    queryFn: async ({ signal }) =>
      readDiff(await get(`${ofPrompt(registryId)}/diff${query({ from, to })}`, signal)),
    staleTime: 60_000,
  })
}

export function promptHistoryQuery(registryId: string) {
  return queryOptions({
    queryKey: ['prompt', registryId, 'history'],
    queryFn: async ({ signal }) =>
      readHistory(await get(`${ofPrompt(registryId)}/history?limit=100`, signal)),
    refetchInterval: liveEveryMs,
  })
}

/** `promote`, `rollback` or `pin`. Rejects with what the plane says against it; the page then shows the present state. */
export async function movePrompt(
  registryId: string,
  move: 'promote' | 'rollback' | 'pin',
  body: Record<string, unknown>,
): Promise<void> {
  try {
    await send('POST', `${ofPrompt(registryId)}/${move}`, body)
  } finally {
    await queryClient.invalidateQueries({ queryKey: ['prompt', registryId] })
    void queryClient.invalidateQueries({ queryKey: promptsQuery.queryKey })
  }
}

/** Experiments move by themselves: both pages ask again while they are looked at. */
export const experimentsQuery = queryOptions({
  queryKey: ['experiments'],
  queryFn: async ({ signal }) =>
    readExperiments(await get('/v1/prompt-regressions?limit=200', signal)),
  refetchInterval: liveEveryMs,
})

export function experimentQuery(id: string) {
  return queryOptions({
    queryKey: ['experiment', id],
    queryFn: async ({ signal }) =>
      readExperimentDetail(
        await get(`/v1/prompt-regressions/${encodeURIComponent(id)}?limit=100`, signal),
      ),
    refetchInterval: liveEveryMs,
  })
}

/** The evidence pack as its text: the checks read it strictly themselves, and judge what was really sent. */
export function evidenceQuery(recordId: string) {
  return queryOptions({
    queryKey: ['evidence', recordId],
    queryFn: ({ signal }) => fetchEvidence(recordId, signal),
    gcTime: 0,
  })
}

export async function fetchEvidence(recordId: string, signal?: AbortSignal): Promise<string> {
  const answer = await call(
    link.evidence(recordId),
    { headers: { accept: 'application/json' } },
    signal,
  )
  if (answer.status === 202) {
    throw new ApiError(
      202,
      'The record is still open: its call has not finished. Try again in a moment.',
      null,
    )
  }
  return answer.text()
}

export type Credentials = { key: string } | { email: string; password: string }

export async function login(credentials: Credentials): Promise<void> {
  await send('POST', '/console/session', credentials)
}

export async function logout(): Promise<void> {
  await send('DELETE', '/console/session')
  queryClient.clear()
}

export async function get(path: string, signal?: AbortSignal): Promise<unknown> {
  const answer = await call(path, { headers: { accept: 'application/json' } }, signal)
  try {
    return await answer.json()
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new ApiError(answer.status, 'The answer is not JSON.', answer.headers.get('x-request-id'))
  }
}

export async function send(
  method: 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<Response> {
  const headers = { 'x-runledger-csrf': '1', 'content-type': 'application/json' }
  return call(path, { method, headers, body: body === undefined ? null : JSON.stringify(body) })
}

async function call(path: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
  const deadline = AbortSignal.timeout(deadlineMs)
  let answer: Response
  try {
    const either = signal ? AbortSignal.any([signal, deadline]) : deadline
    answer = await fetch(path, { ...init, credentials: 'same-origin', signal: either })
  } catch (cause) {
    if (signal?.aborted) throw cause
    const why = deadline.aborted
      ? `No answer within ${deadlineMs / 1000} s.`
      : 'The plane cannot be reached.'
    throw new ApiError(0, why, null)
  }
  if (!answer.ok) throw await toError(answer, path)
  return answer
}

async function toError(answer: Response, path: string): Promise<ApiError> {
  const body: unknown = await answer.json().catch(() => null)
  // A session that ended while a page was open: asking again sends the reader to the login page.
  if (answer.status === 401 && path !== '/console/session') {
    void queryClient.invalidateQueries({ queryKey: sessionQuery.queryKey })
  }
  return new ApiError(
    answer.status,
    messageOf(body) ?? `The plane answered ${answer.status}.`,
    answer.headers.get('x-request-id'),
  )
}

function messageOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('error' in body)) return undefined
  const { error } = body
  if (typeof error !== 'object' || error === null || !('message' in error)) return undefined
  return typeof error.message === 'string' ? error.message : undefined
}
