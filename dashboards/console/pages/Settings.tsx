// The API keys of the workspace: what each may do and use up, what it has used of its budget, and the way to end it.

import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { KeyForm } from '../account/KeyForm.tsx'
import { keysQuery, revokeKey } from '../account/queries.ts'
import type { ApiKey } from '../account/wire.ts'
import { useTitle } from '../Console.tsx'
import { ApiError, sessionQuery } from '../client.ts'
import { absent, cost, count, counted } from '../format.ts'
import { Empty, Failure, Id, Loading, Text, Time } from '../ui/atoms.tsx'

export function Settings() {
  useTitle('Settings')
  const found = useQuery(keysQuery)
  const session = useQuery(sessionQuery)
  const [making, setMaking] = useState(false)
  const mayChange = session.data?.scopes.includes('admin') === true
  return (
    <section className="page">
      <header className="page-head">
        <h1>API keys</h1>
        <p className="page-count">{found.data && counted(found.data.length, 'key')}</p>
        {mayChange && !making && (
          <button
            type="button"
            className="button button-main account-new"
            onClick={() => setMaking(true)}
          >
            New key
          </button>
        )}
      </header>
      {found.isPending && <Loading what="keys" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="keys" retry={() => void found.refetch()} />
      )}
      {found.data && (
        <div className="prompt-body">
          {making && <KeyForm onClose={() => setMaking(false)} />}
          {found.data.length === 0 && (
            <Empty icon="keys" title="No keys">
              <p>Programs send traces and call models with a key of this workspace.</p>
            </Empty>
          )}
          {found.data.length > 0 && <KeyTable keys={found.data} mayChange={mayChange} />}
          {!mayChange && (
            <p className="quiet">
              This session may read. Making and revoking keys needs a key with the scope{' '}
              <code>admin</code>.
            </p>
          )}
        </div>
      )}
    </section>
  )
}

function KeyTable({ keys, mayChange }: { keys: ApiKey[]; mayChange: boolean }) {
  return (
    <div className="prompt-scroll">
      <table className="prompt-table" aria-label="API keys">
        <thead>
          <tr>
            <th>Name</th>
            <th>Id</th>
            <th>May</th>
            <th data-number>Requests/min</th>
            <th data-number>Spent this month</th>
            <th data-number>Budget</th>
            <th>Made</th>
            {mayChange && <th aria-label="Revoke" />}
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id}>
              <td>
                <b>
                  <Text>{key.name}</Text>
                </b>
              </td>
              <td>
                <Id id={key.id} what="key id" short />
              </td>
              <td>{key.scopes.join(', ')}</td>
              <td data-number>{key.rateLimitRpm === null ? absent : count(key.rateLimitRpm)}</td>
              <td data-number>{dollars(key.monthSpentCents)}</td>
              <td data-number>{dollars(key.monthlyBudgetCents)}</td>
              <td>
                <Time iso={key.createdAt} />
              </td>
              {mayChange && (
                <td>
                  <Revoke apiKey={key} />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Asked twice: programs that use the key fail from then on. */
function Revoke({ apiKey }: { apiKey: ApiKey }) {
  const [state, setState] = useState<'idle' | 'asked' | 'busy'>('idle')
  const [mistake, setMistake] = useState('')
  const revoke = async () => {
    setState('busy')
    try {
      await revokeKey(apiKey.id)
    } catch (error) {
      setMistake(error instanceof ApiError ? error.message : 'Something in this page failed.')
      setState('idle')
    }
  }
  return (
    <>
      <button
        type="button"
        className="plain plain-error"
        disabled={state === 'busy'}
        onBlur={() => setState((now) => (now === 'asked' ? 'idle' : now))}
        onClick={() => (state === 'asked' ? void revoke() : setState('asked'))}
      >
        {state === 'asked' ? 'Revoke for good' : 'Revoke'}
      </button>
      {mistake !== '' && (
        <span className="login-mistake" role="alert">
          <Text>{mistake}</Text>
        </span>
      )}
    </>
  )
}

function dollars(cents: number | null): string {
  return cost(cents === null ? null : cents / 100)
}
