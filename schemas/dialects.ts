// Which attribute means what, in every dialect of LLM tracing: one ordered list a field, the first non-empty key wins.
// The byte decoder compiles these lists; the span page reads them through describe.ts. Runs in a browser.

/** A value of an attribute as read from the wire: `bigint` is an int, `number` a double, null an empty AnyValue. */
export type AnyValue =
  | string
  | boolean
  | bigint
  | number
  | null
  | Uint8Array
  | AnyValue[]
  | Map<string, AnyValue>

// A key may hold `{n}` (up to four digits, so that no index makes a sparse array) and end in `*` (anything).
// `@event/attribute` names an attribute of a span event.
export const dialects = {
  modelServed: [
    'langfuse.observation.model.name',
    'gen_ai.response.model',
    'llm.response.model',
    'llm.response.model_name',
    'ai.response.model',
    'ai.model.id',
  ],
  modelRequested: [
    'gen_ai.request.model',
    'llm.request.model_name',
    'llm.request.model',
    'llm.model_name',
    'embedding.model_name',
    'reranker.model_name',
    'ai.model.id',
    'aisdk.model.id',
    'model',
  ],
  provider: [
    'gen_ai.provider.name',
    'gen_ai.system',
    'llm.provider',
    'llm.system',
    'ai.model.provider',
    'aisdk.model.provider',
  ],
  operation: [
    'langfuse.observation.type',
    'openinference.span.kind',
    'gen_ai.operation.name',
    'traceloop.span.kind',
    'llm.request.type',
    'genkit:metadata:subtype',
    'ai.operationId',
    'operation.name',
  ],
  systemInstructions: ['gen_ai.system_instructions'],
  inputMessages: [
    'langfuse.observation.input',
    'gen_ai.input.messages',
    '@gen_ai.client.inference.operation.details/gen_ai.input.messages',
    '@gen_ai.user.message/content',
    '@gen_ai.tool.message/content',
    '@gen_ai.assistant.message/content',
    '@gen_ai.system.message/content',
    '@gen_ai.content.prompt/gen_ai.prompt',
    'llm.input_messages.{n}.message.content',
    'llm.input_messages.{n}.message.contents.{n}.message_content.text',
    'llm.input_messages.{n}.*',
    'gen_ai.prompt.{n}.content',
    'gen_ai.prompt.{n}.*',
    'ai.prompt.messages',
    'ai.prompt',
    'gcp.vertex.agent.llm_request',
    'pydantic_ai.all_messages',
    'all_messages_events',
    'mlflow.spanInputs',
    'traceloop.entity.input',
    'input.value',
    'input',
  ],
  outputMessages: [
    'langfuse.observation.output',
    'gen_ai.output.messages',
    '@gen_ai.client.inference.operation.details/gen_ai.output.messages',
    '@gen_ai.choice/message',
    '@gen_ai.choice/content',
    '@gen_ai.content.completion/gen_ai.completion',
    'llm.output_messages.{n}.message.content',
    'llm.output_messages.{n}.*',
    'gen_ai.completion.{n}.content',
    'gen_ai.completion.{n}.*',
    'ai.response.text',
    'ai.response.object',
    'ai.response.toolCalls',
    'ai.result.text',
    'ai.result.object',
    'ai.result.toolCalls',
    'gcp.vertex.agent.llm_response',
    'final_result',
    'mlflow.spanOutputs',
    'traceloop.entity.output',
    'output.value',
    'output',
  ],
  toolDefinitions: [
    'gen_ai.tool.definitions',
    'llm.tools.{n}.tool.json_schema',
    'ai.prompt.tools',
    'llm.request.functions.{n}.*',
  ],
  toolName: ['gen_ai.tool.name', 'tool.name', 'ai.toolCall.name'],
  toolCallId: ['gen_ai.tool.call.id', 'tool_call.id', 'ai.toolCall.id'],
  toolArguments: [
    'gen_ai.tool.call.arguments',
    'tool_arguments',
    'ai.toolCall.args',
    'gcp.vertex.agent.tool_call_args',
  ],
  toolResult: [
    'gen_ai.tool.call.result',
    'tool_response',
    'ai.toolCall.result',
    'gcp.vertex.agent.tool_response',
  ],
  inputTokens: [
    'gen_ai.usage.input_tokens',
    'gen_ai.usage.prompt_tokens',
    'llm.token_count.prompt',
    'llm.usage.prompt_tokens',
    'ai.usage.inputTokens',
    'ai.usage.promptTokens',
  ],
  cachedTokens: [
    'gen_ai.usage.cache_read.input_tokens',
    'gen_ai.usage.cache_read_input_tokens',
    'gen_ai.usage.cache_read_tokens',
    'gen_ai.usage.details.cache_read_tokens',
    'gen_ai.usage.input_cached_tokens',
    'gen_ai.usage.cached_tokens',
    'gen_ai.usage.prompt_cache_hit_tokens',
    'llm.token_count.prompt_details.cache_read',
    'ai.usage.cachedInputTokens',
    'ai.usage.inputTokenDetails.cacheReadTokens',
  ],
  cacheWriteTokens: [
    'gen_ai.usage.cache_creation.input_tokens',
    'gen_ai.usage.cache_creation_input_tokens',
    'gen_ai.usage.cache_write_tokens',
    'gen_ai.usage.details.cache_write_tokens',
    'llm.token_count.prompt_details.cache_write',
    'ai.usage.inputTokenDetails.cacheWriteTokens',
  ],
  outputTokens: [
    'gen_ai.usage.output_tokens',
    'gen_ai.usage.completion_tokens',
    'llm.token_count.completion',
    'llm.usage.completion_tokens',
    'ai.usage.outputTokens',
    'ai.usage.completionTokens',
  ],
  reasoningTokens: [
    'gen_ai.usage.reasoning.output_tokens',
    'gen_ai.usage.reasoning_tokens',
    'llm.token_count.completion_details.reasoning',
    'ai.usage.reasoningTokens',
    'ai.usage.outputTokenDetails.reasoningTokens',
  ],
  /** JSON with exclusive buckets; read only when no token key above is there. */
  usageDetails: ['langfuse.observation.usage_details'],
  /** JSON in US dollars. */
  costDetails: ['langfuse.observation.cost_details'],
  costTotal: ['gen_ai.usage.cost', 'llm.cost.total'],
  costInput: [
    'gen_ai.usage.input_cost',
    'gen_ai.usage.cost.input',
    'cost.input',
    'llm.cost.prompt',
  ],
  costOutput: [
    'gen_ai.usage.output_cost',
    'gen_ai.usage.cost.output',
    'cost.output',
    'llm.cost.completion',
  ],
  sessionId: [
    'langfuse.session.id',
    'session.id',
    'gen_ai.conversation.id',
    'traceloop.association.properties.session_id',
    'lmnr.association.properties.session_id',
    'thread_id',
    'ai.telemetry.metadata.sessionId',
  ],
  userId: [
    'langfuse.user.id',
    'user.id',
    'traceloop.association.properties.user_id',
    'lmnr.association.properties.user_id',
    'enduser.id',
    'ai.telemetry.metadata.userId',
  ],
  promptName: [
    'batchin.prompt.name',
    'gen_ai.prompt.name',
    'langfuse.observation.prompt.name',
    'langfuse.prompt.name',
    'traceloop.prompt.key',
    'prompt.id',
  ],
  promptVersion: [
    'batchin.prompt.version',
    'gen_ai.prompt.version',
    'langfuse.observation.prompt.version',
    'langfuse.prompt.version',
    'traceloop.prompt.version',
    'llm.prompt_template.version',
  ],
  /** JSON `{"name", "version"}`; read only when no name above is there. */
  promptReference: ['ai.telemetry.metadata.langfusePrompt'],
  /** One key a variable, then JSON of all of them. */
  promptVariables: [
    'gen_ai.prompt.variable.*',
    'traceloop.prompt.template_variables.*',
    'llm.prompt_template.variables',
  ],
  environment: ['langfuse.environment', 'deployment.environment.name', 'deployment.environment'],
  release: ['langfuse.release', 'langfuse.version', 'service.version'],
  tags: [
    'langfuse.trace.tags',
    'langfuse.tags',
    'tag.tags',
    'ai.telemetry.metadata.tags',
    'opik.tags',
  ],
  ttftSeconds: ['gen_ai.response.time_to_first_chunk', 'gen_ai.server.time_to_first_token'],
  ttftMs: ['ai.response.msToFirstChunk', 'ai.stream.msToFirstChunk'],
  /** RFC 3339, counted from the span's start. */
  ttftAt: ['langfuse.observation.completion_start_time'],
  finishReason: [
    'gen_ai.response.finish_reasons',
    'llm.finish_reason',
    'ai.response.finishReason',
    'gen_ai.completion.{n}.finish_reason',
  ],
  service: ['service.name'],
  /** On a span of the Model Context Protocol, gen_ai.prompt.* names a prompt of the MCP server, not one of ours. */
  mcp: ['mcp.method.name', 'mcp.session.id', 'mcp.protocol.version'],
} as const satisfies Record<string, readonly string[]>

export type DialectField = keyof typeof dialects

/** Fields whose attributes are conversations: never searched as attributes, always in the raw span. */
export const bulkFields: readonly DialectField[] = [
  'systemInstructions',
  'inputMessages',
  'outputMessages',
  'toolDefinitions',
]

/** Spellings of `operation`, compared in lower case, and the span's type each one means. */
export const operationTypes: ReadonlyMap<string, string> = new Map(
  Object.entries({
    llm: 'llm chat completion generation text_completion generate_content responses message model ai.generatetext.dogenerate ai.streamtext.dostream ai.generateobject.dogenerate ai.streamobject.dostream',
    embedding: 'embedding embeddings embed embedder ai.embed.doembed ai.embedmany.doembed',
    tool: 'tool execute_tool function ai.toolcall',
    agent: 'agent invoke_agent create_agent',
    chain:
      'chain workflow invoke_workflow task flow ai.generatetext ai.streamtext ai.generateobject ai.streamobject ai.embed ai.embedmany',
    retrieval: 'retriever retrieval',
    rerank: 'reranker rerank ai.rerank ai.rerank.dorerank',
    guardrail: 'guardrail',
    evaluator: 'evaluator evaluation eval',
    prompt: 'prompt',
  }).flatMap(([type, spellings]) => spellings.split(' ').map((spelling) => [spelling, type])),
)

/** What a span is when no operation says so: the first of these with one of its keys present. Otherwise `span`. */
export const typeMarkers: readonly (readonly [string, readonly string[]])[] = [
  ['llm', ['gen_ai.request.model', 'gen_ai.response.model', 'llm.model_name', 'llm.request.model']],
  ['tool', ['gen_ai.tool.name', 'mcp.method.name']],
  ['db', ['db.system.name', 'db.system', 'db.query.text', 'db.statement']],
  ['messaging', ['messaging.system', 'messaging.operation.name', 'messaging.destination.name']],
  ['rpc', ['rpc.system', 'rpc.system.name', 'rpc.method']],
  ['http', ['http.request.method', 'http.method', 'http.route', 'url.full', 'http.url']],
]
