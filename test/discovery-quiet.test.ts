// The end of a burst: no call comes after it that would find what the last ones were of.

import { expect, test } from 'vitest'
import { openDiscovery } from '../replay/discovery/discovery.ts'

const lines = [
  'You are the support agent of Acme.',
  'Answer in the language of the customer.',
  'Refunds are allowed within 30 days of delivery.',
]
const kinder = lines.with(0, 'You are the friendly support agent of Acme.')

test('a look when calls pause finds the version they ended with, and makes its template', () => {
  const discovery = openDiscovery()
  const sent = [...Array(200).fill(lines), ...Array(100).fill(kinder)] as string[][] // of two lists of lines
  const stable = () =>
    discovery.drain().flatMap((event) => (event.type === 'version_stable' ? [event.versionId] : []))
  for (const [i, prompt] of sent.entries()) {
    discovery.observe({
      ...{ workspace: 'w', ref: String(i), paramsClass: '', atMs: 1e12 + i },
      messages: [{ role: 'system', content: prompt.join('\n') }],
    })
  }
  expect(stable()).toHaveLength(1)
  discovery.look(1e12 + 2_000)
  const [version = ''] = stable()
  expect(version).toContain('@v2')
  const template = discovery.template('w', version)
  expect(template?.literals.join(''), JSON.stringify(template)).toContain('friendly')
})
