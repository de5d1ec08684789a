// Which lane of the spool is waited for when a record is not there yet.

import { expect, test } from 'vitest'
import { newId } from '../schemas/ids.ts'
import { openRecords } from '../src/records/records.ts'

const phase = { workspace: 'w', canonical: '', signature: '', key_id: 'k', context: '{}' }

/** Records over rows that are there once a lane has been loaded; which lanes were waited for, in order. */
function opened(there: Record<'before' | 'calls' | 'all', string[]>) {
  const waited: string[] = []
  const records = openRecords({
    rows: {
      async query<T>() {
        const loaded = waited.at(-1) as 'calls' | 'all' | undefined // only these two are pushed below
        return there[loaded ?? 'before'].map((name) => ({ ...phase, phase: name })) as T[]
      },
    },
    flush: async () => void waited.push('all'),
    flushCalls: async () => void waited.push('calls'),
  })
  return { records, waited }
}

test('a record that is whole is given at once, an open one behind the lane of calls, and only an unknown one waits for bulk', async () => {
  const whole = opened({ before: ['begin', 'final'], calls: [], all: [] })
  expect((await whole.records.find(newId()))?.final).toBeDefined()
  expect(whole.waited).toEqual([])
  const open = opened({ before: ['begin'], calls: ['begin'], all: [] })
  expect(await open.records.find(newId())).toMatchObject({ final: undefined })
  expect(open.waited).toEqual(['calls'])
  const posted = opened({ before: [], calls: [], all: ['final'] })
  expect((await posted.records.find(newId()))?.final).toBeDefined()
  expect(posted.waited).toEqual(['calls', 'all'])
})
