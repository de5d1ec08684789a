// The checks of an evidence pack, made in this page, each with its own outcome and reason. There is no single green tick.

import { useEffect, useState } from 'react'
import { type Check, firstFailure, verifyEvidence } from '../../../schemas/verify.ts'
import { counted } from '../format.ts'
import { Text } from '../ui/atoms.tsx'
import { Icon } from '../ui/icons.tsx'

const titles: Record<Check['name'], string> = {
  schema: 'The pack has the form of evidence',
  canonical: 'The payload is the bytes that were signed',
  signature_noble: 'Signature, checked by @noble/ed25519',
  signature_webcrypto: 'Signature, checked by this browser',
  proof: 'W3C proof (eddsa-jcs-2022)',
  certificate: 'The record key is certified by the root',
  root: 'The root is one you trust',
  window: 'The key was valid at that time',
  begin: 'The opening record belongs to this one',
  inclusion: 'The record is in the transparency log',
  disclosure: 'The texts match the commitments',
}

const outcomes = {
  passed: { word: 'Passed', tone: 'ok', icon: 'done' },
  refused: { word: 'Refused', tone: 'error', icon: 'refused' },
  none: { word: 'Not checked', tone: 'none', icon: 'none' },
} as const

type Result =
  | { text: string; roots: string; checks: Check[] }
  | { text: string; roots: string; fault: string }

/** `roots`: Multikeys the reader brought along, separated by white space. */
export function Checks({ text, roots = '' }: { text: string; roots?: string }) {
  const [result, setResult] = useState<Result | undefined>(undefined)
  useEffect(() => {
    let stale = false
    const trusted = roots.split(/\s+/).filter((root) => root !== '')
    verifyEvidence(text, { roots: trusted })
      .then((checks): Result => ({ text, roots, checks }))
      .catch(
        (error: unknown): Result => ({
          text,
          roots,
          fault: error instanceof Error ? error.message : String(error),
        }),
      )
      .then((next) => {
        if (!stale) setResult(next)
      })
    return () => {
      stale = true
    }
  }, [text, roots])
  if (result === undefined || result.text !== text) return <p className="quiet">Checking …</p>
  if ('fault' in result) {
    return (
      <p className="strip" role="alert">
        The checks could not run: <Text>{result.fault}</Text>
      </p>
    )
  }
  return (
    <section className="checks" aria-label="Checks">
      <Tally checks={result.checks} />
      <ol>
        {result.checks.map((check) => (
          <Line key={check.name} check={check} />
        ))}
      </ol>
    </section>
  )
}

function Tally({ checks }: { checks: Check[] }) {
  const of = (ok: boolean | null) => checks.filter((check) => check.ok === ok).length
  const failure = firstFailure(checks)
  return (
    <p className="tally" role="status" data-tone={failure ? 'error' : undefined}>
      {failure ? (
        <b>
          Do not rely on this pack. “{titles[failure.name] ?? failure.name}”{' '}
          {failure.ok === false ? 'was refused.' : 'could not be checked.'}
        </b>
      ) : (
        <b>
          Nothing was refused. What was not checked is listed too: read it before you rely on this.
        </b>
      )}
      <span className="quiet">
        {of(true)} passed · {of(false)} refused · {of(null)} not checked,{' '}
        {counted(checks.length, 'check')} in all
      </span>
    </p>
  )
}

function Line({ check }: { check: Check }) {
  const outcome = outcomes[check.ok === true ? 'passed' : check.ok === false ? 'refused' : 'none']
  return (
    <li className="check" data-tone={outcome.tone}>
      <span className="check-icon">
        <Icon name={outcome.icon} />
      </span>
      <span className="check-text">
        <span className="check-title">
          {titles[check.name] ?? check.name} <code>{check.name}</code>
        </span>
        <span className="check-reason">
          <Text>{check.reason}</Text>
        </span>
      </span>
      <span className="check-word">{outcome.word}</span>
    </li>
  )
}
