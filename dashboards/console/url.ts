// Every link and every query-string state of the console. A view can be bookmarked, sent and reloaded: what is on screen is in here.

export type Page =
  | { name: 'traces' }
  | { name: 'trace'; traceId: string }
  | { name: 'prompts' }
  | { name: 'prompt'; registryId: string }
  | { name: 'experiments' }
  | { name: 'experiment'; id: string }
  | { name: 'usage' }
  | { name: 'settings' }
  | { name: 'login' }
  | { name: 'missing' }

export const ranges = ['15m', '1h', '24h', '7d', 'all', 'custom'] as const
export type Range = (typeof ranges)[number]
export const rangeDefault: Range = '24h'

const rangeMs: Partial<Record<Range, number>> = {
  '15m': 15 * 60_000,
  '1h': 3_600_000,
  '24h': 86_400_000,
  '7d': 7 * 86_400_000,
}

/** The filters of `GET /v1/traces` that may stand in a console URL, under the names the API gives them. `attr.<key>` joins them. */
export const filterNames = [
  'q',
  'service',
  'name',
  'model',
  'provider',
  'route_id',
  'environment',
  'prompt_version_id',
  'status',
  'source',
  'session_id',
  'user_id',
  'min_latency_ms',
  'max_latency_ms',
] as const

export type TraceFilters = { range: Range; from: string; to: string; by: Record<string, string> }

export const panelTabs = ['messages', 'attributes', 'tokens', 'receipt', 'raw'] as const
export type PanelTab = (typeof panelTabs)[number]

export type TraceView = {
  span: string | undefined
  tab: PanelTab | undefined
  q: string
  /** The part of the time axis that is shown, in milliseconds from the start of the trace. */
  zoom: { fromMs: number; toMs: number } | undefined
}

/** The two versions that a prompt's page compares; absent ones are chosen by the page. */
export type Compared = { from: string | undefined; to: string | undefined }

export function parseCompared(search: string): Compared {
  const params = new URLSearchParams(search)
  return { from: params.get('from') ?? undefined, to: params.get('to') ?? undefined }
}

export const usageDays = [1, 7, 30, 90] as const
const daysDefault = 30

export function parseDays(search: string): number {
  const asked = Number(new URLSearchParams(search).get('days'))
  return usageDays.find((days) => days === asked) ?? daysDefault
}

export function pageOf(pathname: string): Page {
  const parts = pathname.split('/').filter((part) => part !== '')
  if (parts[0] !== 'console') return { name: 'missing' }
  if (parts.length === 1 || (parts.length === 2 && parts[1] === 'traces')) return { name: 'traces' }
  if (parts.length === 3 && parts[1] === 'traces') return { name: 'trace', traceId: parts[2]! }
  if (parts.length === 2 && parts[1] === 'prompts') return { name: 'prompts' }
  if (parts.length === 2 && parts[1] === 'experiments') return { name: 'experiments' }
  if (parts.length === 3 && parts[1] === 'experiments') return { name: 'experiment', id: parts[2]! }
  if (parts.length === 3 && parts[1] === 'prompts') return { name: 'prompt', registryId: parts[2]! }
  if (parts.length === 2 && parts[1] === 'usage') return { name: 'usage' }
  if (parts.length === 2 && parts[1] === 'settings') return { name: 'settings' }
  if (parts.length === 2 && parts[1] === 'login') return { name: 'login' }
  return { name: 'missing' }
}

export const link = {
  traces: (filters?: Partial<TraceFilters>) =>
    `/console/traces${query(fromFilters(filters ?? {}))}`,
  trace: (traceId: string, view?: Partial<TraceView>) =>
    `/console/traces/${encodeURIComponent(traceId)}${query(fromView(view ?? {}))}`,
  experiments: () => '/console/experiments',
  experiment: (id: string) => `/console/experiments/${encodeURIComponent(id)}`,
  prompts: () => '/console/prompts',
  prompt: (registryId: string, compared?: Partial<Compared>) =>
    `/console/prompts/${encodeURIComponent(registryId)}${query({ from: compared?.from ?? '', to: compared?.to ?? '' })}`,
  usage: (days?: number) =>
    `/console/usage${query({ days: days === undefined || days === daysDefault ? '' : String(days) })}`,
  settings: () => '/console/settings',
  login: (next?: string) => `/console/login${query({ next: next ?? '' })}`,
  verify: (recordId?: string) => `/verify${query({ record: recordId ?? '' })}`,
  evidence: (recordId: string) => `/v1/vaas/${encodeURIComponent(recordId)}/evidence`,
}

export function parseFilters(search: string): TraceFilters {
  const params = new URLSearchParams(search)
  const by: Record<string, string> = {}
  for (const [key, value] of params) if (isFilter(key) && value !== '') by[key] = value
  const asked = params.get('range')
  const from = params.get('from') ?? ''
  const to = params.get('to') ?? ''
  const named = ranges.find((range) => range === asked)
  const range = from !== '' || to !== '' ? 'custom' : (named ?? rangeDefault)
  return { range, from, to, by }
}

export function parseView(search: string): TraceView {
  const params = new URLSearchParams(search)
  const zoom = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(params.get('zoom') ?? '')
  const fromMs = Number(zoom?.[1])
  const toMs = Number(zoom?.[2])
  return {
    span: params.get('span') ?? undefined,
    tab: panelTabs.find((tab) => tab === params.get('tab')),
    q: params.get('q') ?? '',
    zoom: fromMs < toMs ? { fromMs, toMs } : undefined,
  }
}

/** Where a login returns to: only a path of this console, never an address that a link could smuggle in. */
export function parseNext(search: string): string {
  const next = new URLSearchParams(search).get('next') ?? ''
  return /^\/console\/[^\\]*$/.test(next) ? next : link.traces()
}

/** The query string that `GET /v1/traces` understands; a range becomes the `from` it means at this moment. */
export function toApi(filters: TraceFilters, nowMs: number): Record<string, string> {
  const window = rangeMs[filters.range]
  const from = window === undefined ? filters.from : new Date(nowMs - window).toISOString()
  return { ...filters.by, from, to: filters.range === 'custom' ? filters.to : '' }
}

/** A query string with its question mark; empty values are left out, so the plainest state has the plainest URL. */
export function query(values: Record<string, string>): string {
  const params = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ''))
  const text = params.toString()
  return text === '' ? '' : `?${text}`
}

function isFilter(key: string): boolean {
  return (filterNames as readonly string[]).includes(key) || key.startsWith('attr.')
}

function fromFilters({ range, from, to, by }: Partial<TraceFilters>): Record<string, string> {
  const custom = range === 'custom' || range === undefined
  return {
    ...by,
    range: custom || range === rangeDefault ? '' : range,
    from: custom ? (from ?? '') : '',
    to: custom ? (to ?? '') : '',
  }
}

function fromView({ span, tab, q, zoom }: Partial<TraceView>): Record<string, string> {
  return {
    q: q ?? '',
    zoom: zoom ? `${round(zoom.fromMs)}-${round(zoom.toMs)}` : '',
    span: span ?? '',
    tab: span && tab ? tab : '',
  }
}

function round(ms: number): string {
  return String(Math.max(0, Math.round(ms * 1000) / 1000))
}
