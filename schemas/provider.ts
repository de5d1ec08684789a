// One provider, one name: emitters spell it with capitals, or with the API behind a dot.

// The values OpenTelemetry gives `gen_ai.provider.name` (semantic conventions 1.37), and its earlier ones for `gen_ai.system`.
const wellKnown = new Set(
  `anthropic aws.bedrock azure.ai.inference azure.ai.openai az.ai.inference az.ai.openai cohere deepseek gcp.gemini gcp.gen_ai
  gcp.vertex_ai gemini vertex_ai groq ibm.watsonx.ai mistral_ai openai perplexity x_ai xai`.split(
    /\s+/,
  ),
)

// What the Vercel AI SDK puts behind a provider's name: `openai.responses`, `google.generative-ai`.
const apis = new Set(
  `chat responses completion embedding image speech transcription messages generative-ai`.split(
    ' ',
  ),
)

/** As the search column has it: `openai.chat` and `OpenAI` are `openai`; a name nobody knows stays as it came. */
export function toProvider(given: string): string {
  const dot = given.lastIndexOf('.')
  const bare = dot > 0 && apis.has(given.slice(dot + 1)) ? given.slice(0, dot) : given
  const lower = bare.toLowerCase()
  return wellKnown.has(lower) ? lower : bare
}
