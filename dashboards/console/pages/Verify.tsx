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
import { type Given, PackInput, type Take } from '../verify/PackInput.tsx'

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
  // Asking for the same record again fetches it again: it may have been completed meanwhile.
  const [tries, setTries] = useState(0)
  useRecord(`${tries} ${record}`, take)
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
          <PackInput
            record={record}
            onGiven={take}
            onRecord={(id) => {
              replace(link.verify(id))
              setTries(tries + 1)
            }}
            roots={roots}
            onRoots={setRoots}
          />
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
function useRecord(asked: string, take: Take): void {
  useEffect(() => {
    const record = asked.slice(asked.indexOf(' ') + 1)
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
  }, [asked, take])
}
