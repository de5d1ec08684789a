// What was said, in order. Model output is hostile text: it is shown as text, never parsed as markup, and loads nothing.

import { bytes, counted } from '../format.ts'
import { pretty } from '../text.ts'
import { Copy, Empty, Text } from '../ui/atoms.tsx'
import { LongText } from '../ui/LongText.tsx'
import { useSteps } from '../ui/useSteps.tsx'
import type { Message, Part, Span, ToolCall } from '../wire.ts'

const messagesStep = 50

export function Messages({ span }: { span: Span }) {
  const input = span.input ?? []
  const output = span.output ?? []
  if (span.input === null && span.output === null) {
    return (
      <Empty icon="prompts" title="No messages on this span">
        <p>
          It is not a model call, or its capture was off (`X-BatchIn-Capture: usage`). Its
          attributes may tell more.
        </p>
      </Empty>
    )
  }
  return (
    <>
      <Side title="Input" messages={input} />
      <Side title="Output" messages={output} />
      {span.tools !== null && (
        <details className="fold-block">
          <summary>
            Tools offered
            {Array.isArray(span.tools) ? `, ${counted(span.tools.length, 'tool')}` : ''}
          </summary>
          <LongText text={pretty(span.tools)} mono />
        </details>
      )}
    </>
  )
}

function Side({ title, messages }: { title: string; messages: Message[] }) {
  const steps = useSteps(messages.length, messagesStep)
  return (
    <section className="block" aria-label={title}>
      <h3>
        {title} <span className="quiet">{counted(messages.length, 'message')}</span>
      </h3>
      {messages.length === 0 && <p className="quiet">Nothing was captured.</p>}
      {messages.slice(0, steps.shown).map((message, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the messages of one span never move
        <Bubble key={at} message={message} />
      ))}
      {steps.more}
    </section>
  )
}

function Bubble({ message }: { message: Message }) {
  return (
    <article className="bubble" data-role={message.role}>
      <header>
        <span className="role">
          <Text>{message.role}</Text>
        </span>
        {message.name && (
          <code className="quiet">
            <Text>{message.name}</Text>
          </code>
        )}
        {message.toolCallId && (
          <code className="quiet" title="answers this tool call">
            <Text>{message.toolCallId}</Text>
          </code>
        )}
        <span className="grow" />
        <Copy text={plain(message)} what="message" />
      </header>
      {message.parts.map((part, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one message never move
        <PartView key={at} part={part} isJson={message.role === 'tool'} />
      ))}
      {message.toolCalls.map((call, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the calls of one message never move
        <CallView key={at} call={call} />
      ))}
      {message.parts.length === 0 && message.toolCalls.length === 0 && (
        <p className="quiet">(empty)</p>
      )}
    </article>
  )
}

function PartView({ part, isJson }: { part: Part; isJson: boolean }) {
  if (part.text === null) return <Foreign part={part} />
  const printed = isJson ? pretty(part.text) : part.text
  return <LongText text={printed} mono={printed !== part.text} />
}

/** An image, a sound, a file: named and measured, not fetched. Fetching would tell its host who reads this trace. */
function Foreign({ part }: { part: Part }) {
  const json = pretty(part.value)
  return (
    <details className="fold-block">
      <summary>
        <Text>{part.type}</Text> <span className="quiet">{bytes(json.length)}, not loaded</span>
      </summary>
      <LongText text={json} mono />
    </details>
  )
}

function CallView({ call }: { call: ToolCall }) {
  const given = pretty(call.arguments)
  return (
    <div className="call">
      <header>
        <span className="type">CALL</span>
        <code>
          <Text>{call.name || '(no name)'}</Text>
        </code>
        <span className="grow" />
        {call.id && (
          <code className="quiet">
            <Text>{call.id}</Text>
          </code>
        )}
        <Copy text={given} what="arguments" />
      </header>
      <LongText text={given} mono />
    </div>
  )
}

function plain(message: Message): string {
  const parts = message.parts.map((part) => part.text ?? pretty(part.value))
  const calls = message.toolCalls.map((call) => `${call.name}(${pretty(call.arguments)})`)
  return [...parts, ...calls].join('\n')
}
