// Every dialect of LLM tracing describes the same call the same way.

import { expect, describe as group, test } from 'vitest'
import type { Attribute } from '../schemas/attribute-set.ts'
import { describe } from '../schemas/describe.ts'
import { type AnyValue, dialects } from '../schemas/dialects.ts'

const question = { role: 'user', content: 'Where is it?' }
const answer = { role: 'assistant', content: 'Here.' }
const json = JSON.stringify

type Case = [string, Record<string, AnyValue>, { name: string; attributes: Attribute[] }[]?]

group('one question and one answer, in the words of', () => {
  test.each<Case>([
    [
      'OTel GenAI, JSON',
      {
        'gen_ai.input.messages': json([
          { role: 'user', parts: [{ type: 'text', content: 'Where is it?' }] },
        ]),
        'gen_ai.output.messages': json([
          { role: 'assistant', parts: [{ type: 'text', content: 'Here.' }], finish_reason: 'stop' },
        ]),
      },
    ],
    [
      'OTel GenAI, structured',
      {
        'gen_ai.input.messages': [
          new Map<string, AnyValue>([
            ['role', 'user'],
            [
              'parts',
              [
                new Map([
                  ['type', 'text'],
                  ['content', 'Where is it?'],
                ]),
              ],
            ],
          ]),
        ],
        'gen_ai.output.messages': [
          new Map([
            ['role', 'assistant'],
            ['content', 'Here.'],
          ]),
        ],
      },
    ],
    [
      'OTel GenAI, an event with details',
      {},
      [
        {
          name: 'gen_ai.client.inference.operation.details',
          attributes: [
            ['gen_ai.input.messages', json([question])],
            ['gen_ai.output.messages', json([answer])],
          ],
        },
      ],
    ],
    [
      'OTel GenAI, an event a message',
      {},
      [
        { name: 'gen_ai.user.message', attributes: [['content', 'Where is it?']] },
        {
          name: 'gen_ai.choice',
          attributes: [
            ['message', json(answer)],
            ['index', 0n],
          ],
        },
      ],
    ],
    [
      'OTel GenAI, the first events',
      {},
      [
        { name: 'gen_ai.content.prompt', attributes: [['gen_ai.prompt', json([question])]] },
        { name: 'gen_ai.content.completion', attributes: [['gen_ai.completion', json([answer])]] },
      ],
    ],
    [
      'OpenInference',
      {
        'llm.input_messages.0.message.role': 'user',
        'llm.input_messages.0.message.content': 'Where is it?',
        'llm.output_messages.0.message.role': 'assistant',
        'llm.output_messages.0.message.contents.0.message_content.type': 'text',
        'llm.output_messages.0.message.contents.0.message_content.text': 'Here.',
      },
    ],
    [
      'OpenLLMetry',
      {
        'gen_ai.prompt.0.role': 'user',
        'gen_ai.prompt.0.content': 'Where is it?',
        'gen_ai.completion.0.role': 'assistant',
        'gen_ai.completion.0.content': 'Here.',
      },
    ],
    [
      'Langfuse',
      {
        'langfuse.observation.input': json({ messages: [question] }),
        'langfuse.observation.output': json(answer),
      },
    ],
    [
      'AI SDK',
      {
        'ai.prompt.messages': json([
          { role: 'user', content: [{ type: 'text', text: 'Where is it?' }] },
        ]),
        'ai.response.text': 'Here.',
      },
    ],
    [
      'Google ADK',
      {
        'gcp.vertex.agent.llm_request': json({
          model: 'g',
          contents: [{ role: 'user', parts: [{ text: 'Where is it?' }] }],
        }),
        'gcp.vertex.agent.llm_response': json({
          content: { role: 'model', parts: [{ text: 'Here.' }] },
        }),
      },
    ],
    [
      'Pydantic AI',
      {
        'pydantic_ai.all_messages': json([
          { role: 'user', parts: [{ type: 'text', content: 'Where is it?' }] },
        ]),
        final_result: 'Here.',
      },
    ],
    [
      'MLflow',
      {
        'mlflow.spanInputs': json({ messages: [question] }),
        'mlflow.spanOutputs': json({ choices: [{ message: answer }] }),
      },
    ],
    [
      'LangChain through Traceloop',
      {
        'traceloop.entity.input': json({
          messages: [
            [
              {
                lc: 1,
                id: ['langchain', 'schema', 'HumanMessage'],
                kwargs: { content: 'Where is it?' },
              },
            ],
          ],
        }),
        'traceloop.entity.output': json({ lc: 1, id: ['AIMessage'], kwargs: { content: 'Here.' } }),
      },
    ],
    ['plain values', { 'input.value': 'Where is it?', 'output.value': 'Here.' }],
    [
      'Responses',
      {
        input: json({ model: 'm', input: [question] }),
        output: json([
          { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Here.' }] },
        ]),
      },
    ],
  ])('%s', (_, attributes, events = []) => {
    const { input, output } = describe(Object.entries(attributes), events)
    expect([input, output]).toEqual([[question], [answer]])
  })
})

group('a call of a tool, in the words of', () => {
  const call = { id: 'c1', name: 'find', arguments: '{"n":1}' }
  test.each<[string, Record<string, AnyValue>]>([
    [
      'OpenAI',
      {
        'output.value': json({
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'find', arguments: '{"n":1}' } },
          ],
        }),
      },
    ],
    [
      'Anthropic',
      {
        'output.value': json({
          role: 'assistant',
          content: [{ type: 'tool_use', id: 'c1', name: 'find', input: { n: 1 } }],
        }),
      },
    ],
    [
      'OTel GenAI',
      {
        'gen_ai.output.messages': json([
          {
            role: 'assistant',
            parts: [{ type: 'tool_call', id: 'c1', name: 'find', arguments: { n: 1 } }],
          },
        ]),
      },
    ],
    [
      'OpenInference',
      {
        'llm.output_messages.0.message.tool_calls.0.tool_call.id': 'c1',
        'llm.output_messages.0.message.tool_calls.0.tool_call.function.name': 'find',
        'llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments': '{"n":1}',
      },
    ],
    [
      'OpenLLMetry',
      {
        'gen_ai.completion.0.tool_calls.0.id': 'c1',
        'gen_ai.completion.0.tool_calls.0.name': 'find',
        'gen_ai.completion.0.tool_calls.0.arguments': '{"n":1}',
      },
    ],
    [
      'AI SDK',
      {
        'ai.response.text': '',
        'ai.response.toolCalls': json([
          { type: 'tool-call', toolCallId: 'c1', toolName: 'find', input: { n: 1 } },
        ]),
      },
    ],
    [
      'Responses',
      {
        'output.value': json({
          output: [{ type: 'function_call', call_id: 'c1', name: 'find', arguments: '{"n":1}' }],
        }),
      },
    ],
  ])('%s', (_, attributes) => {
    const { output } = describe(Object.entries(attributes))
    expect(output.flatMap((message) => message.toolCalls)).toEqual([call])
    expect(output.map(({ role }) => role)).toEqual(['assistant'])
  })
})

group('parts', () => {
  test('pictures, thoughts and tool results keep what they are', () => {
    const parts = [
      { type: 'text', text: 'see' },
      { type: 'image_url', image_url: { url: 'https://x/y.png' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
      { type: 'thinking', thinking: 'hm' },
      { type: 'tool_result', tool_use_id: 'c1', content: [{ type: 'text', text: 'found' }] },
      { type: 'never seen', value: 1 },
    ]
    const { input } = describe([['input.value', json([{ role: 'user', content: parts }])]])
    expect(input).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'see' },
          { type: 'media', kind: 'image', mimeType: '', url: 'https://x/y.png' },
          {
            type: 'media',
            kind: 'image',
            mimeType: 'image/png',
            url: 'data:image/png;base64,AAAA',
          },
          { type: 'reasoning', text: 'hm' },
          { type: 'toolResult', id: 'c1', content: 'found' },
          { type: 'other', json: '{"type":"never seen","value":1}' },
        ],
      },
    ])
  })

  test('system instructions come before the messages', () => {
    const { input } = describe([
      ['gen_ai.system_instructions', json([{ type: 'text', content: 'Be kind.' }])],
      ['gen_ai.input.messages', json([question])],
    ])
    expect(input).toEqual([{ role: 'system', content: 'Be kind.' }, question])
  })
})

group('fields', () => {
  test('the first key of a list that is not empty wins', () => {
    const facts = describe([
      ['langfuse.session.id', ''],
      ['session.id', 's'],
      ['thread_id', 't'],
      ['ai.model.provider', 'openai.responses'],
      ['gen_ai.usage.prompt_tokens', 5n],
      ['gen_ai.usage.input_tokens', 7n],
      ['gen_ai.response.finish_reasons', ['stop']],
      ['langfuse.trace.tags', '["a","b"]'],
      ['gen_ai.usage.cost', 0.5],
      ['gen_ai.operation.name', 'CHAT'],
      [
        'llm.tools.0.tool.json_schema',
        json({
          type: 'function',
          function: { name: 'find', description: 'd', parameters: { a: 1 } },
        }),
      ],
    ])
    expect(facts).toMatchObject({
      type: 'llm',
      sessionId: 's',
      provider: 'openai',
      usage: { inputTokens: 7, outputTokens: undefined },
      finishReasons: ['stop'],
      tags: ['a', 'b'],
      costUsd: 0.5,
      tools: [{ name: 'find', description: 'd', parameters: { a: 1 } }],
    })
  })

  test('a prompt has its name, version and variables, but not on an MCP span', () => {
    const attributes: Attribute[] = [
      ['gen_ai.prompt.name', 'support'],
      ['gen_ai.prompt.version', 2n],
      ['gen_ai.prompt.variable.city', 'Bern'],
      ['llm.prompt_template.variables', '{"day":1}'],
    ]
    expect(describe(attributes).prompt).toEqual({
      name: 'support',
      version: '2',
      variables: new Map([
        ['day', '1'],
        ['city', 'Bern'],
      ]),
    })
    expect(describe([...attributes, ['mcp.method.name', 'prompts/get']]).prompt).toBeUndefined()
  })

  test('no index and no key reaches a prototype or makes a sparse array', () => {
    const { input } = describe([
      ['gen_ai.prompt.4294967294.content', 'bomb'],
      ['gen_ai.prompt.__proto__.polluted', 'yes'],
      ['gen_ai.prompt.7.content', 'seven'],
      ['llm.prompt_template.variables', '{"__proto__":{"polluted":1}}'],
      ['input.value', '{"__proto__":{"role":"admin"},"constructor":1}'],
    ])
    expect(input).toEqual([{ role: 'user', content: 'seven' }])
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })

  test('every key of the table stands once in its list', () => {
    for (const keys of Object.values(dialects)) expect(new Set(keys).size).toBe(keys.length)
  })
})
