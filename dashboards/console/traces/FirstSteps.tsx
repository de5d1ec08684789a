// The empty list of a new workspace: two ways to send the first trace, ready to paste.

import { Empty, Snippet } from '../ui/atoms.tsx'

export function FirstSteps() {
  const plane = location.origin
  return (
    <Empty icon="traces" title="No traces yet">
      <p>
        Send a model call through the plane, or point an OpenTelemetry exporter at it. It shows up
        here within seconds.
      </p>
      <div className="snippets">
        <Snippet
          label="A first call (with no upstream configured, the built-in sandbox answers)"
          code={`curl ${plane}/v1/chat/completions \\
  -H "Authorization: Bearer $RUNLEDGER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'`}
        />
        <Snippet
          label="The OpenAI SDK, Python"
          code={`from openai import OpenAI

client = OpenAI(base_url="${plane}/v1", api_key=RUNLEDGER_KEY)
client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Hello"}],
)`}
        />
        <Snippet
          label="Any OpenTelemetry SDK"
          code={`export OTEL_EXPORTER_OTLP_ENDPOINT=${plane}/v1/otlp
export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20$RUNLEDGER_KEY"
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`}
        />
      </div>
    </Empty>
  )
}
