// What a pack says about itself. These are its claims; the checks beside them are what they are worth.

import { useMemo } from 'react'
import { Id, Text } from '../ui/atoms.tsx'

const claims: { key: string; title: string; isId?: boolean }[] = [
  { key: 'record_id', title: 'Record', isId: true },
  { key: 'run_id', title: 'Run', isId: true },
  { key: 'trace_id', title: 'Trace', isId: true },
  { key: 'status', title: 'Status' },
  { key: 'model_id', title: 'Model' },
  { key: 'provider', title: 'Provider' },
  { key: 'prompt_version_id', title: 'Prompt version' },
  { key: 'environment', title: 'Environment' },
  { key: 'started_at', title: 'Started' },
  { key: 'completed_at', title: 'Completed' },
  { key: 'input_hash', title: 'Input commitment', isId: true },
  { key: 'output_hash', title: 'Output commitment', isId: true },
  { key: 'key_id', title: 'Key', isId: true },
  { key: 'public_key', title: 'Public key', isId: true },
]

export function PackFacts({ text }: { text: string }) {
  const found = useMemo(() => read(text), [text])
  const shown = claims.flatMap((claim) => {
    const value = found.get(claim.key)
    return value === undefined ? [] : [{ ...claim, value }]
  })
  if (shown.length === 0) return null
  return (
    <section className="block">
      <h2>What the pack claims</h2>
      <dl className="plain-facts">
        {shown.map(({ key, title, value, isId }) => (
          <div key={key} className="plain-fact">
            <dt>{title}</dt>
            <dd>{isId ? <Id id={value} what={title.toLowerCase()} /> : <Text>{value}</Text>}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** Text members of the signed payload first: what stands only beside it is not covered by the signature. */
function read(text: string): Map<string, string> {
  const found = new Map<string, string>()
  let pack: unknown
  try {
    pack = JSON.parse(text)
  } catch {
    return found
  }
  const take = (from: unknown) => {
    if (typeof from !== 'object' || from === null) return
    for (const [key, value] of Object.entries(from))
      if (typeof value === 'string') found.set(key, value)
  }
  take(pack)
  if (typeof pack === 'object' && pack !== null && 'payload' in pack) take(pack.payload)
  return found
}
