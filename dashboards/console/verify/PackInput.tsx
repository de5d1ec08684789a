// Three ways for an evidence pack to come in: a file, pasted text, a record id; and the root keys its reader trusts.

import { useState } from 'react'
import { Icon } from '../ui/icons.tsx'

// A pack is a few kilobytes. Anything far larger was dropped by mistake, and reading it would freeze the page.
const packBytesMax = 1024 * 1024

export type Given = { text: string; from: string }
export type Take = (given: Given | undefined, mistake?: string) => void

type Props = {
  record: string
  onGiven: Take
  onRecord: (recordId: string) => void
  roots: string
  onRoots: (roots: string) => void
}

export function PackInput({ record, onGiven, onRecord, roots, onRoots }: Props) {
  return (
    <div className="verify-input">
      <Drop onGiven={onGiven} />
      <label className="stacked">
        <span>Or paste its JSON</span>
        <textarea
          rows={7}
          spellCheck={false}
          placeholder='{"record_id":"vaas_…","payload":{…},"signature":"ed25519:…"}'
          onChange={(event) => {
            const text = event.target.value
            onGiven(text.trim() === '' ? undefined : { text, from: 'pasted text' })
          }}
        />
      </label>
      <RecordForm record={record} onRecord={onRecord} />
      <label className="stacked">
        <span>Root keys you trust (optional)</span>
        <textarea
          rows={2}
          spellCheck={false}
          value={roots}
          placeholder="z6Mk…"
          onChange={(event) => onRoots(event.target.value)}
        />
        <small>
          Got from somewhere other than this page. Without one, the chain of keys ends in a root
          nobody vouched for.
        </small>
      </label>
    </div>
  )
}

function Drop({ onGiven }: { onGiven: Take }) {
  const [over, setOver] = useState(false)
  const take = async (file: File | undefined) => {
    if (!file) return
    if (file.size > packBytesMax) {
      onGiven(undefined, `${file.name} is larger than 1 MiB: not an evidence pack.`)
      return
    }
    onGiven({ text: await file.text(), from: file.name })
  }
  return (
    <label
      className="drop"
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        void take(event.dataTransfer.files[0])
      }}
    >
      <input
        type="file"
        accept=".json,application/json"
        className="sr"
        onChange={(event) => void take(event.target.files?.[0])}
      />
      <Icon name="file" />
      <span>
        <b>Drop an evidence pack</b> or choose a file
      </span>
    </label>
  )
}

function RecordForm({ record, onRecord }: Pick<Props, 'record' | 'onRecord'>) {
  const [id, setId] = useState(record)
  return (
    <form
      className="stacked"
      onSubmit={(event) => {
        event.preventDefault()
        onRecord(id.trim())
      }}
    >
      <label htmlFor="record">Or fetch it by record id</label>
      <div className="joined">
        <input
          id="record"
          value={id}
          placeholder="vaas_…"
          spellCheck={false}
          onChange={(event) => setId(event.target.value)}
        />
        <button type="submit" className="button">
          Fetch
        </button>
      </div>
    </form>
  )
}
