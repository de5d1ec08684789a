// An upstream that answers a chat completion of 1 KB at once, in a process of its own, so that it costs the proxy nothing.

import { once } from 'node:events'
import { createServer } from 'node:http'

const answer = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_760_000_000,
  model: 'gpt-4o-mini-2024-07-18',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'word '.repeat(120), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 180, completion_tokens: 120, total_tokens: 300 },
  system_fingerprint: 'fp_bench',
})
const head = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) }

const server = createServer((req, res) => {
  req.on('end', () => {
    res.writeHead(200, head)
    res.end(answer)
  })
  req.resume()
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.send({ port: server.address().port })
process.on('disconnect', () => process.exit())
