// Every failure this product can name, once: its status, what an OpenAI client is told, what an OTLP client is told.

export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'rate_limit_error'
  | 'insufficient_quota'
  | 'api_error'

type FaultRow = {
  status: number
  type: ErrorType
  grpc: number
  retryAfterS?: number
  says: string
}

// `code` is what callers match on; `grpc` is the google.rpc.Code of the same failure on the OTLP paths.
export const faults = {
  invalid_request: {
    status: 400,
    type: 'invalid_request_error',
    grpc: 3,
    says: 'The request is not valid.',
  },
  no_route_satisfies_constraints: {
    status: 400,
    type: 'invalid_request_error',
    grpc: 9,
    says: 'No route satisfies what the call asks for.',
  },
  unauthorized: {
    status: 401,
    type: 'authentication_error',
    grpc: 16,
    says: 'No valid API key was given. Send it as "Authorization: Bearer <key>".',
  },
  invalid_credentials: {
    status: 401,
    type: 'authentication_error',
    grpc: 16,
    says: 'These credentials are not valid.',
  },
  payment_required: {
    status: 402,
    type: 'insufficient_quota',
    grpc: 8,
    says: 'The budget of this key is used up.',
  },
  forbidden: {
    status: 403,
    type: 'permission_error',
    grpc: 7,
    says: 'This key may not do that.',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    grpc: 5,
    says: 'There is nothing here by that name.',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    grpc: 5,
    says: 'There is no such model.',
  },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    grpc: 12,
    says: 'This method is not allowed here.',
  },
  timeout: {
    status: 408,
    type: 'invalid_request_error',
    grpc: 4,
    says: 'The request body did not arrive in time.',
  },
  conflict: {
    status: 409,
    type: 'invalid_request_error',
    grpc: 10,
    says: 'This conflicts with the present state.',
  },
  responses_streaming_disabled: {
    status: 409,
    type: 'invalid_request_error',
    grpc: 9,
    says: 'Streaming of responses is switched off for this key.',
  },
  payload_too_large: {
    status: 413,
    type: 'invalid_request_error',
    grpc: 8,
    says: 'The body is too large.',
  },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    grpc: 3,
    says: 'This media type or encoding is not supported here.',
  },
  range_not_satisfiable: {
    status: 416,
    type: 'invalid_request_error',
    grpc: 11,
    says: 'The range that was asked for is not in the file.',
  },
  headers_too_large: {
    status: 431,
    type: 'invalid_request_error',
    grpc: 8,
    says: 'The headers are too large.',
  },
  rate_limited: {
    status: 429,
    type: 'rate_limit_error',
    grpc: 8,
    retryAfterS: 1,
    says: 'Too many requests.',
  },
  internal: {
    status: 500,
    type: 'api_error',
    grpc: 13,
    says: 'Something went wrong on our side.',
  },
  upstream_error: {
    status: 502,
    type: 'api_error',
    grpc: 14,
    says: 'The upstream could not answer.',
  },
  service_unavailable: {
    status: 503,
    type: 'api_error',
    grpc: 14,
    retryAfterS: 1,
    says: 'This cannot be done right now. Try again shortly.',
  },
  upstream_timeout: {
    status: 504,
    type: 'api_error',
    grpc: 4,
    says: 'The upstream did not answer in time.',
  },
} as const satisfies Record<string, FaultRow>

export type FaultCode = keyof typeof faults

export type FaultDetail = {
  /** What and where, for the caller. Never a stack, a path of ours, SQL, or another workspace's name. */
  message?: string
  /** The parameter or field that is wrong. */
  param?: string
  /** Seconds after which trying again makes sense. */
  retryAfterS?: number
  /** Headers the answer needs, such as `Allow`. */
  headers?: Record<string, string>
}

/** A failure with a name. Thrown where it is found; turned into an answer at the doors only. */
export class Fault extends Error {
  readonly code: FaultCode
  readonly detail: FaultDetail

  constructor(code: FaultCode, detail: FaultDetail = {}, options?: { cause?: unknown }) {
    super(detail.message ?? faults[code].says, options)
    this.name = 'Fault'
    this.code = code
    this.detail = detail
  }

  get status(): number {
    return faults[this.code].status
  }

  get retryAfterS(): number | undefined {
    const row: FaultRow = faults[this.code]
    return this.detail.retryAfterS ?? row.retryAfterS
  }

  /** The OpenAI error envelope, all four keys present. */
  toBody(): {
    error: {
      message: string
      type: ErrorType
      param: string | null
      code: FaultCode
    }
  } {
    const { type } = faults[this.code]
    return {
      error: {
        message: this.message,
        type,
        param: this.detail.param ?? null,
        code: this.code,
      },
    }
  }
}

/** The fault itself, or an `internal` that keeps the original as its cause and tells the caller nothing of it. */
export function toFault(error: unknown): Fault {
  return error instanceof Fault ? error : new Fault('internal', {}, { cause: error })
}
