// The verify page: an evidence pack comes in as a file, as text or by its record id, and every check is made in the page.

import { useCallback, useEffect, useState } from 'react'
import { ApiError, fetchEvidence } from '../client.ts'
import { replace, useUrl } from '../history.ts'
import { Copy, Text } from '../ui/atoms.tsx'
import { Icon, Mark } from '../ui/icons.tsx'
import { ThemeToggle } from '../ui/ThemeToggle.tsx'
import { link } from '../url.ts'
import { Checks } from '../verify/Checks.tsx'
import { PackFacts } from '../verify/PackFacts.tsx'

// A pack is a few kilobytes. Anything far larger was dropped by mistake, and reading it would freeze the page.
const packBytesMax = 1024 * 1024

type Given = { text: string; from: string }

export function Verify() {
  const url = useUrl()
  const record = new URLSearchParams(url.search).get('record') ?? ''
  const [given, setGiven] = useState<Given | undefined>(undefined)
  const [mistake, setMistake] = useState('')
  const [roots, setRoots] = useState('')
  const take = useCallback((next: Given | undefined, wrong = '') => {
    setGiven(next)
    setMistake(wrong)
  }, [])
  useRecord(record, take)
  return (
    <div className="verify">
      <header className="verify-bar">
        <a className="brand" href={link.traces()} aria-label="Runledger console">
          <Mark />
          <span>Runledger</span>
        </a>
        <span className="grow" />
        <a className="plain" href={link.traces()}>
          Console
        </a>
        <ThemeToggle />
      </header>
      <main className="verify-main">
        <h1>Verify evidence</h1>
        <p className="lead">
          Every call through Runledger leaves a signed record. Give this page an evidence pack: it
          checks the signature, the key and what the record commits to, here in your browser. A pack
          that you drop or paste is not sent anywhere.
        </p>
        <Honest />
        <div className="verify-split">
          <Input record={record} onGiven={take} roots={roots} onRoots={setRoots} />
          <div className="verify-result" aria-live="polite">
            {mistake !== '' && (
              <p className="strip" role="alert">
                <Text>{mistake}</Text>
              </p>
            )}
            {given ? (
              <>
                <p className="verify-from">
                  <Icon name="file" /> <Text>{given.from}</Text>
                </p>
                <Checks text={given.text} roots={roots} />
                <PackFacts text={given.text} />
              </>
            ) : (
              mistake === '' && <Waiting />
            )}
          </div>
        </div>
      </main>
    </div>
  )
}

function Honest() {
  const command = 'runledger verify FILE'
  return (
    <aside className="honest">
      <p>
        <b>This page is served by the party being audited.</b> It can show you how the checks work;
        it cannot prove that it runs them honestly. To rely on nobody, check the saved pack offline,
        with a copy of the tool you got elsewhere:
      </p>
      <p className="command">
        <code>{command}</code>
        <Copy text={command} what="command" />
      </p>
    </aside>
  )
}

type InputProps = {
  record: string
  onGiven: (given: Given | undefined, mistake?: string) => void
  roots: string
  onRoots: (roots: string) => void
}

function Input({ record, onGiven, roots, onRoots }: InputProps) {
  const [over, setOver] = useState(false)
  const [id, setId] = useState(record)
  const takeFile = async (file: File | undefined) => {
    if (!file) return
    if (file.size > packBytesMax)
      return onGiven(undefined, `${file.name} is larger than 1 MiB: not an evidence pack.`)
    onGiven({ text: await file.text(), from: file.name })
  }
  return (
    <div className="verify-input">
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
          void takeFile(event.dataTransfer.files[0])
        }}
      >
        <input
          type="file"
          accept=".json,application/json"
          className="sr"
          onChange={(event) => void takeFile(event.target.files?.[0])}
        />
        <Icon name="file" />
        <span>
          <b>Drop an evidence pack</b> or choose a file
        </span>
      </label>
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
      <form
        className="stacked"
        onSubmit={(event) => {
          event.preventDefault()
          replace(link.verify(id.trim()))
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

function Waiting() {
  return (
    <div className="state state-boxed">
      <span className="state-icon">
        <Icon name="verify" />
      </span>
      <h2>No pack yet</h2>
      <p>
        A record id comes back with every call, in the <code>X-VaaS-Record-Id</code> header. Its
        pack:
      </p>
      <p className="command">
        <code>{`curl ${location.origin}/v1/vaas/RECORD_ID/evidence > FILE`}</code>
        <Copy text={`curl ${location.origin}/v1/vaas/RECORD_ID/evidence > FILE`} what="command" />
      </p>
    </div>
  )
}

/** The record named in the URL is fetched and checked at once: a link to this page is a link to its checks. */
function useRecord(record: string, take: InputProps['onGiven']): void {
  useEffect(() => {
    if (record === '') return
    const gone = new AbortController()
    fetchEvidence(record, gone.signal).then(
      (text) => take({ text, from: `${record}, fetched from this server` }),
      (error: unknown) => {
        if (gone.signal.aborted) return
        const why = error instanceof ApiError ? error.message : 'The record could not be fetched.'
        take(undefined, `${record}: ${why}`)
      },
    )
    return () => gone.abort()
  }, [record, take])
}
