// An upstream that answers a chat completion of 1 KB at once, or a stream of tokens at their pace, in a process of its own, so that
// it costs the gateway nothing. Each token says when it was sent (`t` and the nanoseconds of this machine's monotonic clock).

import { once } from 'node:events'
import { createServer } from 'node:http'

const tokensPerSecond = 100
const common = { id: 'chatcmpl-bench', created: 1_760_000_000, model: 'gpt-4o-mini-2024-07-18' }
const usage = { prompt_tokens: 180, completion_tokens: 120, total_tokens: 300 }
const answer = JSON.stringify({
  ...common,
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'word '.repeat(120), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage,
  system_fingerprint: 'fp_bench',
})
const head = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) }

const server = createServer((req, res) => {
  const pieces = []
  req.on('data', (piece) => pieces.push(piece))
  req.on('end', () => {
    const body = Buffer.concat(pieces).toString('latin1')
    if (body.includes('"stream":true')) stream(JSON.parse(body), res)
    else {
      res.writeHead(200, head)
      res.end(answer)
    }
  })
})

function stream(request, res) {
  let left = request.max_tokens
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = () => {
    if (left-- > 0) {
      res.write(eventOf({ content: `t${process.hrtime.bigint()} ` }))
      return
    }
    clearInterval(timer)
    res.write(eventOf({}, 'stop'))
    if (request.stream_options?.include_usage) res.write(toEvent({ choices: [], usage }))
    res.end('data: [DONE]\n\n')
  }
  const timer = setInterval(send, 1000 / tokensPerSecond)
  res.on('close', () => clearInterval(timer))
  send()
}

function eventOf(delta, reason = null) {
  return toEvent({ choices: [{ index: 0, delta, finish_reason: reason }] })
}

function toEvent(more) {
  return `data: ${JSON.stringify({ ...common, object: 'chat.completion.chunk', ...more })}\n\n`
}

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1')
await once(server, 'listening')
process.send({ port: server.address().port })
process.on('disconnect', () => process.exit())
