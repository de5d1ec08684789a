// Every setting from the environment: name, type, default, help. read() lists all mistakes at once.

export type Settings = {
  host: string
  port: number
  dataDir: string
  bootstrapKey: string | undefined
  masterKey: string | undefined
  clickhouseUrl: string | undefined
  databaseUrl: string | undefined
  /** Unset: jobs are kept in Postgres. */
  redisUrl: string | undefined
  /** In order; the first three of families that no arm belongs to. */
  judgeModels: string[]
  embeddingModel: string | undefined
  openaiBaseUrl: string | undefined
  openaiApiKey: string | undefined
  environment: string
  /** Unset: runledger.json in the working directory, if it is there. */
  configFile: string | undefined
  /** Unset: no OTLP over gRPC. */
  otlpGrpcPort: number | undefined
  billing: 'off' | 'prepaid'
  /** True: anybody may make an account and come in. */
  publicSignup: boolean
  /** Where this process serves, for the limits of a region. */
  region: string | undefined
  /** Unset: in the data directory, where no other plane sees them. */
  mediaDir: string | undefined
  /** True: requests of the API are traced into the first user's workspace. */
  selfTraces: boolean
}

type Row = {
  env: string
  fallback: string | undefined
  help: string
  check?: (text: string) => string | undefined
}

const bootstrapKeyLengthMin = 40

export const settingRows: Record<keyof Settings, Row> = {
  host: {
    env: 'HOST',
    fallback: '127.0.0.1',
    help: 'Address to listen on. A public one is refused while no API key exists.',
  },
  port: {
    env: 'PORT',
    fallback: '4100',
    help: 'Port to listen on; 0 takes a free one.',
    check: isPort,
  },
  dataDir: {
    env: 'RUNLEDGER_DATA_DIR',
    fallback: './.runledger',
    help: 'Spool and embedded databases. One process at a time.',
  },
  bootstrapKey: {
    env: 'RUNLEDGER_BOOTSTRAP_KEY',
    fallback: undefined,
    help: 'An API key with all scopes that exists from the first start.',
    check: isBootstrapKey,
  },
  masterKey: {
    env: 'RUNLEDGER_MASTER_KEY',
    fallback: undefined,
    help: 'Seals signing keys and salts in Postgres: 32 bytes, base64url or hex. Unset: a 0600 file in the data directory.',
    check: isMasterKey,
  },
  clickhouseUrl: {
    env: 'CLICKHOUSE_URL',
    fallback: undefined,
    help: 'http(s)://user:password@host:8123/database. Unset: embedded.',
    check: isUrlOf('http:', 'https:'),
  },
  databaseUrl: {
    env: 'DATABASE_URL',
    fallback: undefined,
    help: 'postgres://… Unset: embedded.',
    check: isUrlOf('postgres:', 'postgresql:'),
  },
  judgeModels: {
    env: 'RUNLEDGER_JUDGE_MODELS',
    fallback: '',
    help: 'Models that compare answers in experiments, with commas between: one judges, three are a panel. Unset: none is asked.',
  },
  embeddingModel: {
    env: 'RUNLEDGER_EMBEDDING_MODEL',
    fallback: undefined,
    help: 'The model whose vectors say how alike answers are. Unset: they are compared by their letters.',
  },
  redisUrl: {
    env: 'REDIS_URL',
    fallback: undefined,
    help: 'redis://… for jobs. Unset: they are kept in Postgres.',
    check: isUrlOf('redis:', 'rediss:'),
  },
  openaiBaseUrl: {
    env: 'OPENAI_BASE_URL',
    fallback: undefined,
    help: 'One OpenAI-compatible upstream. Unset: the sandbox provider answers.',
    check: isUrlOf('http:', 'https:'),
  },
  openaiApiKey: {
    env: 'OPENAI_API_KEY',
    fallback: undefined,
    help: 'The key sent to that upstream.',
  },
  environment: {
    env: 'BATCHIN_ENVIRONMENT',
    fallback: 'development',
    help: 'The environment of runs that name none.',
  },
  configFile: {
    env: 'RUNLEDGER_CONFIG',
    fallback: undefined,
    help: 'Providers, routes, models, limits. Unset: ./runledger.json if it is there.',
  },
  otlpGrpcPort: {
    env: 'OTLP_GRPC_PORT',
    fallback: undefined,
    help: 'Port for OTLP over gRPC, 4317 by convention; 0 takes a free one. Unset: off.',
    check: isPort,
  },
  billing: {
    env: 'RUNLEDGER_BILLING',
    fallback: 'off',
    help: 'prepaid: balances are enforced too, not only budgets of keys.',
    check: isOneOf('off', 'prepaid'),
  },
  publicSignup: {
    env: 'RUNLEDGER_PUBLIC_SIGNUP',
    fallback: '0',
    help: '1: anybody may make an account and log in.',
    check: isOneOf('0', '1'),
  },
  region: {
    env: 'RUNLEDGER_REGION',
    fallback: undefined,
    help: 'Where this process serves: limits of that region hold here.',
  },
  mediaDir: {
    env: 'RUNLEDGER_MEDIA_DIR',
    fallback: undefined,
    help: 'Folder of the media of calls, one for all planes that share their stores. Unset: `media` in the data directory.',
  },
  selfTraces: {
    env: 'RUNLEDGER_SELF_TRACES',
    fallback: undefined,
    help: 'on: the API traces itself, into the workspace of the first user; ingest and inference are left out.',
    check: (text) => (text === 'on' || text === 'off' ? undefined : 'must be on or off'),
  },
}

/** Settings from environment variables. Throws one Error naming every mistake, each with its variable. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const mistakes: string[] = []
  const values: Record<string, string | undefined> = {}
  for (const [name, row] of Object.entries(settingRows)) {
    const given = env[row.env]
    const text = given === undefined || given === '' ? row.fallback : given
    const mistake = text === undefined ? undefined : row.check?.(text)
    if (mistake) mistakes.push(`${row.env}: ${mistake}`)
    values[name] = text
  }
  if (mistakes.length > 0)
    throw new Error(`The settings are not valid:\n  ${mistakes.join('\n  ')}`)
  const { port, otlpGrpcPort } = values
  return {
    ...values,
    port: Number(port),
    judgeModels: (values.judgeModels ?? '').split(/[\s,]+/).filter((name) => name !== ''),
    otlpGrpcPort: otlpGrpcPort === undefined ? undefined : Number(otlpGrpcPort),
    selfTraces: values.selfTraces === 'on',
    publicSignup: values.publicSignup === '1',
  } as Settings // every row above is a key of Settings
}

function isPort(text: string): string | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535
    ? undefined
    : 'must be a port number, 0 to 65535'
}

function isBootstrapKey(text: string): string | undefined {
  if (!text.startsWith('batchin_api_')) return 'must start with batchin_api_'
  if (!/^[\x21-\x7e]+$/.test(text)) return 'must be printable ASCII without spaces'
  return text.length >= bootstrapKeyLengthMin
    ? undefined
    : `must have at least ${bootstrapKeyLengthMin} characters`
}

function isMasterKey(text: string): string | undefined {
  return /^[0-9a-fA-F]{64}$/.test(text) || /^[A-Za-z0-9_-]{43}=?$/.test(text)
    ? undefined
    : 'must be 32 bytes as 64 hex digits or base64url'
}

function isOneOf(...words: string[]): (text: string) => string | undefined {
  return (text) => (words.includes(text) ? undefined : `must be ${words.join(' or ')}`)
}

function isUrlOf(...protocols: string[]): (text: string) => string | undefined {
  return (text) => {
    if (!URL.canParse(text)) return 'must be a URL'
    return protocols.includes(new URL(text).protocol)
      ? undefined
      : `must start with ${protocols.join(' or ')}`
  }
}
