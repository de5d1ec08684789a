// A new API key: its name, what it may do, what it may use up. The key itself is shown once, and kept nowhere in the browser.

import { useId, useState } from 'react'
import { ApiError } from '../client.ts'
import { Copy, Text } from '../ui/atoms.tsx'
import { type KeyWish, makeKey } from './queries.ts'

const scopes = [
  { name: 'ingest', says: 'send traces and runs' },
  { name: 'proxy', says: 'call models' },
  { name: 'read', says: 'read this workspace' },
  { name: 'admin', says: 'keys, prompts, deletion' },
]
const usual = ['ingest', 'proxy', 'read']

export function KeyForm({ onClose }: { onClose: () => void }) {
  const [made, setMade] = useState('')
  return made === '' ? (
    <NewKey onMade={setMade} onClose={onClose} />
  ) : (
    <div className="account-made" role="status">
      <p>This is the key. Copy it now: it is not shown again.</p>
      <p className="account-secret">
        <code>{made}</code> <Copy text={made} what="API key" />
      </p>
      <button type="button" className="button" onClick={onClose}>
        I have copied it
      </button>
    </div>
  )
}

function NewKey({ onMade, onClose }: { onMade: (key: string) => void; onClose: () => void }) {
  const id = useId()
  const [wish, setWish] = useState({ name: '', scopes: usual, rpm: '', budget: '' })
  const [state, setState] = useState({ busy: false, mistake: '' })
  const submit = async () => {
    setState({ busy: true, mistake: '' })
    try {
      onMade(await makeKey(toWish(wish)))
    } catch (error) {
      const mistake = error instanceof ApiError ? error.message : 'Something in this page failed.'
      setState({ busy: false, mistake })
    }
  }
  return (
    <form
      className="account-form"
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <label htmlFor={`${id}-name`}>Name</label>
      <input
        id={`${id}-name`}
        required
        maxLength={200}
        value={wish.name}
        onChange={(event) => setWish({ ...wish, name: event.target.value })}
      />
      <Scopes chosen={wish.scopes} onChange={(scopes) => setWish({ ...wish, scopes })} />
      <label htmlFor={`${id}-rpm`}>Requests a minute, at most</label>
      <input
        id={`${id}-rpm`}
        type="number"
        min={1}
        placeholder="no limit"
        value={wish.rpm}
        onChange={(event) => setWish({ ...wish, rpm: event.target.value })}
      />
      <label htmlFor={`${id}-budget`}>Budget a month, in US dollars</label>
      <input
        id={`${id}-budget`}
        type="number"
        min={0}
        step="any"
        placeholder="no limit"
        value={wish.budget}
        onChange={(event) => setWish({ ...wish, budget: event.target.value })}
      />
      {state.mistake !== '' && (
        <p className="login-mistake" role="alert">
          <Text>{state.mistake}</Text>
        </p>
      )}
      <div className="account-foot">
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
        <button
          type="submit"
          className="button button-main"
          disabled={state.busy || wish.name.trim() === '' || wish.scopes.length === 0}
        >
          Make the key
        </button>
      </div>
    </form>
  )
}

function Scopes({ chosen, onChange }: { chosen: string[]; onChange: (scopes: string[]) => void }) {
  return (
    <fieldset>
      <legend>It may</legend>
      {scopes.map(({ name, says }) => (
        <label key={name}>
          <input
            type="checkbox"
            checked={chosen.includes(name)}
            onChange={() => onChange(toggled(chosen, name))}
          />
          <b>{name}</b> <span className="quiet">{says}</span>
        </label>
      ))}
    </fieldset>
  )
}

function toWish(of: { name: string; scopes: string[]; rpm: string; budget: string }): KeyWish {
  return {
    name: of.name.trim(),
    scopes: of.scopes,
    rate_limit_rpm: of.rpm === '' ? null : Number(of.rpm),
    monthly_budget_cents: of.budget === '' ? null : Number(of.budget) * 100,
  }
}

function toggled(list: string[], name: string): string[] {
  return list.includes(name) ? list.filter((one) => one !== name) : [...list, name]
}
