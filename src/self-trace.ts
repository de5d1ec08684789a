// Our own traces, kept where those of our users are: one a request, with the queries it made. Off unless asked for. Ingest and
// the inference path are left out: the one would feed itself, the other is traced by its runs.

import { AsyncLocalStorage } from 'node:async_hooks'
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base'
import type { Middleware } from 'koa'
import { type TakeDeps, takeSpans } from '../collectors/otlp/take.ts'
import type { Clickhouse } from './stores/clickhouse.ts'

const exportEveryMs = 2_000
// A burst larger than this loses its tail, counted; tracing ourselves must never be what fills the spool.
const queueMax = 2_048

/** What of ClickHouse a request waits for. */
type Reads = Pick<Clickhouse, 'query' | 'stream' | 'queryBinary' | 'streamBinary'>

export type SelfTrace = {
  /** Traces whatever comes through it; `isLeftOut` by method and path. */
  middleware(isLeftOut: (method: string, path: string) => boolean): Middleware
  /** The same store, each of whose reads is a span of the request that asked. */
  watch<R extends Reads>(rows: R): R
  close(): Promise<void>
}

/** Spans go to `workspace` through the same door as anyone's, and are as durable. */
export function openSelfTrace(deps: {
  workspace: string
  version: string
  /** The door of everyone's spans, once it is there. */
  take: () => TakeDeps
}): SelfTrace {
  const processor = new BatchSpanProcessor(exporterTo(deps), {
    scheduledDelayMillis: exportEveryMs,
    maxQueueSize: queueMax,
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'runledger',
      'service.version': deps.version,
    }),
    spanProcessors: [processor],
  })
  const tracer = provider.getTracer('runledger', deps.version)
  const current = new AsyncLocalStorage<Span>()

  /** Runs `work` as a child of the request under way; outside of one it is not traced. */
  async function inSpan<T>(sql: string, work: () => Promise<T>): Promise<T> {
    const parent = current.getStore()
    if (!parent) return work()
    const attributes = { 'db.system.name': 'clickhouse', 'db.query.text': sql }
    const options = { kind: SpanKind.CLIENT, attributes }
    const span = tracer.startSpan('SELECT', options, trace.setSpan(ROOT_CONTEXT, parent))
    try {
      return await work()
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) })
      throw error
    } finally {
      span.end()
    }
  }

  return {
    middleware: (isLeftOut) => (ctx, next) => {
      if (isLeftOut(ctx.method, ctx.path)) return next()
      const span = tracer.startSpan(ctx.method, {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': ctx.method, 'url.path': ctx.path },
      })
      ctx.res.once('close', () => {
        const route: unknown = ctx._matchedRoute
        if (typeof route === 'string') {
          span.updateName(`${ctx.method} ${route}`)
          span.setAttribute('http.route', route)
        }
        const { statusCode } = ctx.res
        span.setAttribute('http.response.status_code', statusCode)
        if (statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
        span.end()
      })
      return current.run(span, next)
    },
    watch(rows) {
      return {
        ...rows,
        query: (q: Parameters<Reads['query']>[0]) => inSpan(q.sql, () => rows.query(q)),
        queryBinary: (...given: Parameters<Reads['queryBinary']>) =>
          inSpan(given[0].sql, () => rows.queryBinary(...given)),
      }
    },
    close: () => provider.shutdown(),
  }
}

function exporterTo(deps: { workspace: string; take: () => TakeDeps }): SpanExporter {
  const { workspace } = deps
  return {
    export(spans, done) {
      const take = deps.take()
      const body = Buffer.from(ProtobufTraceSerializer.serializeRequest(spans) ?? [])
      takeSpans({ body, encoding: 'protobuf', workspace, strict: false }, take).then(
        () => done({ code: 0 }),
        (error) => {
          // A spool that refuses is told of by its own counters; these spans are ours to lose.
          take.counters.count('self_spans_dropped_total', {}, spans.length)
          done({ code: 1, error })
        },
      )
    },
    shutdown: async () => {},
  }
}
