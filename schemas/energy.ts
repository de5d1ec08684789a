// vaas-energy/1: what a call is modelled to have used, as integers (micro watt hours, micrograms), with the inputs to redo it.
// Constants: EcoLogits 0.9.1 (fitted on ML.ENERGY, vLLM on H100 80 GB); the prefill term is ours. Honest for closed models
// within a factor of four either way, which is why low and high are signed beside the central value.

import type { RecordFacts } from './record.ts'

type Range = readonly [low: number, high: number]
/** Billions of parameters. A dense model has both ranges alike. */
type Size = { total: Range; active: Range; basis: 'name' | 'published' | 'assumed' }
export type Tier = 'nano' | 'small' | 'mid' | 'high'

// Callers name models as they like; beyond this many the sizes are worked out again.
const sizesHeld = 1000
const batchSize = 64
const gpuMemoryGb = 80
const prefillWhPerTokenAndB = 9.83e-7
const serverWatts = 1200
const lifeSeconds = 3 * 365 * 24 * 3600
const serverEmbodiedG = 5_700_000
const gpuEmbodiedG = 164_000
const usPue = 1.2
const usGramsPerKwh = 383.55

const dataset = 'owid@ecologits-0.9.1'
const anywhere = { pue: 1.2, zone: 'WOR', gramsPerKwh: 473.01 }
// By the id of the provider in the settings: the one thing known about where it runs.
// A map, because a provider may be named `constructor` and must not find what every object has.
const places = new Map<string, typeof anywhere>(
  Object.entries({
    openai: { pue: 1.2, zone: 'US', gramsPerKwh: usGramsPerKwh },
    azure: { pue: 1.2, zone: 'US', gramsPerKwh: usGramsPerKwh },
    anthropic: { pue: 1.14, zone: 'US', gramsPerKwh: usGramsPerKwh },
    google: { pue: 1.09, zone: 'US', gramsPerKwh: usGramsPerKwh },
    mistral: { ...anywhere, pue: 1.16 },
  }),
)

// Published where the makers say so; the rest of the closed models are ranges that EcoLogits argues for.
const knownSizes: readonly (readonly [RegExp, Omit<Size, 'basis'>, Size['basis']])[] = [
  [/gpt-oss-120b/, { total: [117, 117], active: [5.1, 5.1] }, 'published'],
  [/gpt-oss-20b/, { total: [21, 21], active: [3.6, 3.6] }, 'published'],
  [/deepseek-(v3|r1)(?!-distill)/, { total: [671, 671], active: [37, 37] }, 'published'],
  [/mixtral-8x7b/, { total: [46.7, 46.7], active: [12.9, 12.9] }, 'published'],
  [/mixtral-8x22b/, { total: [141, 141], active: [39, 39] }, 'published'],
  [/gpt-4o-mini/, { total: [8, 28], active: [8, 28] }, 'assumed'],
  [/gpt-4o/, { total: [440, 440], active: [44, 132] }, 'assumed'],
  [/embed|\bbge-|\bgte-|\be5-/, { total: [0.1, 7], active: [0.1, 7] }, 'assumed'],
]

const tierSizes: Record<Tier | 'unknown', Omit<Size, 'basis'>> = {
  nano: { total: [0.5, 4], active: [0.5, 4] },
  small: { total: [8, 28], active: [8, 28] },
  mid: { total: [28, 123], active: [14, 70] },
  high: { total: [123, 671], active: [37, 132] },
  unknown: { total: [8, 440], active: [8, 132] },
}

export type EnergyFacts = Pick<RecordFacts, 'modelId' | 'provider' | 'status' | 'usage'> & {
  /** As measured; undefined or zero when nobody measured it. */
  latencyMs?: number
  /** The tier the settings give the model, when they do. */
  tier?: Tier | undefined
}

/** The payload's energy fields. The two floats of the documents are the integers divided by a million, never an exponent. */
export type EnergyFields = {
  energy_wh: number | null
  carbon_grams_co2e: number | null
  energy_source: string | null
  carbon_offset_vs_us_cloud: number | null
  energy: EnergyDetail | null
}

export type EnergyDetail = {
  method: string
  tier: 'modelled' | 'none'
  is_estimated: boolean
  energy_uwh: number
  low_uwh: number
  high_uwh: number
  carbon_ug: number
  embodied_ug: number
  offset_ug: number
  inputs: {
    size_basis: Size['basis']
    total_m: [number, number]
    active_m: [number, number]
    batch: number
    pue_milli: number
    ci_mg_per_kwh: number
    latency_ms: number | null
  } | null
}

/**
 * The energy of one call. Null throughout when no token counts are known: nothing is guessed from nothing. A sandbox and a
 * cache use none of a model's energy. `carbon_offset_vs_us_cloud` is a difference to a reference grid, not an offset.
 */
export function toEnergy(facts: EnergyFacts): EnergyFields {
  if (facts.provider === 'sandbox') return none('none:sandbox')
  if (facts.status === 'cache_hit') return none('none:cache_hit')
  const { usage } = facts
  if (!usage) {
    return {
      energy_wh: null,
      carbon_grams_co2e: null,
      energy_source: null,
      carbon_offset_vs_us_cloud: null,
      energy: null,
    }
  }
  const size = sizeOf(facts.modelId, facts.tier)
  const place = places.get(facts.provider) ?? anywhere
  const latencyS = facts.latencyMs ? facts.latencyMs / 1000 : undefined
  const promptTokens = Math.max(0, usage.inputTokens - usage.cachedTokens)
  const call = { promptTokens, outputTokens: usage.outputTokens, latencyS }
  const low = toLoad({ total: size.total[0], active: size.active[0] }, call)
  const high = toLoad({ total: size.total[1], active: size.active[1] }, call)
  const itWh = Math.sqrt(low.itWh * high.itWh)
  const embodiedG = Math.sqrt(low.embodiedG * high.embodiedG)
  const operationalG = (itWh * place.pue * place.gramsPerKwh) / 1000
  const detail: EnergyDetail = {
    carbon_ug: toMicro(operationalG + embodiedG),
    embodied_ug: toMicro(embodiedG),
    energy_uwh: toMicro(itWh * place.pue),
    high_uwh: toMicro(high.itWh * place.pue),
    inputs: {
      active_m: [toMilli(size.active[0]), toMilli(size.active[1])],
      batch: batchSize,
      ci_mg_per_kwh: toMilli(place.gramsPerKwh),
      latency_ms: facts.latencyMs ? Math.round(facts.latencyMs) : null,
      pue_milli: toMilli(place.pue),
      size_basis: size.basis,
      total_m: [toMilli(size.total[0]), toMilli(size.total[1])],
    },
    is_estimated: size.basis === 'assumed' || usage.estimated,
    low_uwh: toMicro(low.itWh * place.pue),
    method: 'vaas-energy/1',
    offset_ug: toMicro((itWh * usPue * usGramsPerKwh) / 1000 - operationalG),
    tier: 'modelled',
  }
  return withFloats(`grid:${place.zone}:2025:${dataset}`, detail)
}

const sizes = new Map<string, Size>()

/** The size of a model, worked out once: a dozen patterns on every call showed in the proxy's profile. */
function sizeOf(modelId: string, tier: Tier | undefined): Size {
  const key = `${tier} ${modelId}`
  const known = sizes.get(key)
  if (known) return known
  if (sizes.size >= sizesHeld) sizes.clear()
  const size = toSize(modelId, tier)
  sizes.set(key, size)
  return size
}

/** What the name says (`30b-a3b`, `8b`), what is published, what its tier suggests; else the whole range. */
function toSize(modelId: string, tier: Tier | undefined): Size {
  const name = modelId.toLowerCase()
  const known = knownSizes.find(([pattern]) => pattern.test(name))
  if (known) return { ...known[1], basis: known[2] }
  const [, totalText, activeText] =
    /(?<![\dx.])(\d{1,4}(?:\.\d+)?)b(?:-a(\d{1,3}(?:\.\d+)?)b)?(?![a-z])/.exec(name) ?? []
  const total = Number(totalText)
  if (total > 0) {
    const active = Number(activeText ?? totalText)
    return { total: [total, total], active: [active, active], basis: 'name' }
  }
  return { ...tierSizes[tier ?? toTier(name) ?? 'unknown'], basis: 'assumed' }
}

function toTier(name: string): Tier | undefined {
  if (/nano|tiny/.test(name)) return 'nano'
  return /mini|small|flash|haiku|lite/.test(name) ? 'small' : undefined
}

type Call = { promptTokens: number; outputTokens: number; latencyS: number | undefined }

/** Energy of the machines before the building's share, and the share of what making them cost. */
function toLoad(
  size: { total: number; active: number },
  call: Call,
): { itWh: number; embodiedG: number } {
  const gpus = 2 ** Math.ceil(Math.log2(Math.ceil((1.2 * size.total * 2) / gpuMemoryGb)))
  const whPerToken = 1.16653e-6 * Math.exp(-1.12059e-2 * batchSize) * size.active + 4.05293e-5
  const modelledS =
    call.outputTokens * (6.78509e-4 * size.active + 3.11931e-4 * batchSize + 1.94737e-2)
  const seconds = Math.min(modelledS, call.latencyS ?? modelledS)
  const gpuWh = call.outputTokens * gpus * whPerToken
  const serverWh = ((seconds / 3600) * serverWatts * (gpus / 8)) / batchSize
  const prefillWh = call.promptTokens * prefillWhPerTokenAndB * size.active
  const madeG = (gpus / 8) * serverEmbodiedG + gpus * gpuEmbodiedG
  return {
    itWh: gpuWh + serverWh + prefillWh,
    embodiedG: (seconds / lifeSeconds / batchSize) * madeG,
  }
}

function none(source: string): EnergyFields {
  return withFloats(source, {
    method: 'vaas-energy/1',
    tier: 'none',
    is_estimated: false,
    energy_uwh: 0,
    low_uwh: 0,
    high_uwh: 0,
    carbon_ug: 0,
    embodied_ug: 0,
    offset_ug: 0,
    inputs: null,
  })
}

function withFloats(source: string, detail: EnergyDetail): EnergyFields {
  return {
    energy_wh: detail.energy_uwh / 1e6,
    carbon_grams_co2e: detail.carbon_ug / 1e6,
    energy_source: source,
    carbon_offset_vs_us_cloud: detail.offset_ug / 1e6,
    energy: detail,
  }
}

/** Held within what a record can say exactly: counts are what somebody claims, and so is the size in a model's name. */
function toMicro(value: number): number {
  const { MAX_SAFE_INTEGER, MIN_SAFE_INTEGER } = Number
  return Math.max(MIN_SAFE_INTEGER, Math.min(Math.round(value * 1e6), MAX_SAFE_INTEGER))
}

function toMilli(value: number): number {
  return Math.round(value * 1000)
}
