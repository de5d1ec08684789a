// The way in: an API key, or email and password, become a session cookie that scripts cannot read. Neither is kept anywhere in
// the browser.

import { useState } from 'react'
import { useTitle } from '../Console.tsx'
import { ApiError, type Credentials, login, queryClient, sessionQuery } from '../client.ts'
import { push } from '../history.ts'
import { Icon, Mark } from '../ui/icons.tsx'
import { ThemeToggle } from '../ui/ThemeToggle.tsx'
import { link, parseNext } from '../url.ts'

export function Login({ search }: { search: string }) {
  useTitle('Sign in')
  const [by, setBy] = useState<'key' | 'password'>('key')
  const [given, setGiven] = useState({ key: '', email: '', password: '' })
  const [state, setState] = useState({ busy: false, mistake: '' })
  const submit = async () => {
    setState({ busy: true, mistake: '' })
    try {
      await login(credentialsOf(by, given))
      await queryClient.resetQueries({ queryKey: sessionQuery.queryKey })
      await queryClient.ensureQueryData(sessionQuery)
      push(parseNext(search))
    } catch (error) {
      setState({ busy: false, mistake: toMistake(error, by) })
    }
  }
  return (
    <div className="login">
      <div className="login-tools">
        <ThemeToggle />
      </div>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <h1>
          <Mark /> Runledger
        </h1>
        {by === 'key' ? (
          <KeyField
            value={given.key}
            isWrong={state.mistake !== ''}
            onChange={(key) => setGiven({ ...given, key })}
          />
        ) : (
          <PasswordFields given={given} onChange={(more) => setGiven({ ...given, ...more })} />
        )}
        {state.mistake !== '' && (
          <p className="login-mistake" role="alert">
            {state.mistake}
          </p>
        )}
        <button
          type="submit"
          className="button button-main"
          disabled={state.busy || !isComplete(by, given)}
        >
          {state.busy ? 'Signing in …' : 'Sign in'}
        </button>
        {by === 'key' && <Hint />}
        <button
          type="button"
          className="plain"
          onClick={() => {
            setBy(by === 'key' ? 'password' : 'key')
            setState({ busy: false, mistake: '' })
          }}
        >
          {by === 'key' ? 'Use email and password' : 'Use an API key'}
        </button>
      </form>
      <a className="plain" href={link.verify()}>
        <Icon name="verify" /> Verify evidence without signing in
      </a>
    </div>
  )
}

function Hint() {
  return (
    <p id="login-hint" className="quiet">
      The first start prints a key once, in the terminal. It needs the scope <code>read</code>.
    </p>
  )
}

type Given = { key: string; email: string; password: string }

function credentialsOf(by: 'key' | 'password', { key, email, password }: Given): Credentials {
  return by === 'key' ? { key: key.trim() } : { email: email.trim(), password }
}

function isComplete(by: 'key' | 'password', { key, email, password }: Given): boolean {
  return by === 'key' ? key.trim() !== '' : email.trim() !== '' && password !== ''
}

function PasswordFields({
  given,
  onChange,
}: {
  given: Given
  onChange: (more: Partial<Given>) => void
}) {
  return (
    <>
      <label className="stacked">
        <span>Email</span>
        <input
          type="email"
          // biome-ignore lint/a11y/noAutofocus: the reader has just asked for it
          autoFocus
          required
          autoComplete="username"
          value={given.email}
          onChange={(event) => onChange({ email: event.target.value })}
        />
      </label>
      <label className="stacked">
        <span>Password</span>
        <input
          type="password"
          required
          autoComplete="current-password"
          value={given.password}
          onChange={(event) => onChange({ password: event.target.value })}
        />
      </label>
    </>
  )
}

type KeyFieldProps = { value: string; isWrong: boolean; onChange: (key: string) => void }

function KeyField({ value, isWrong, onChange }: KeyFieldProps) {
  return (
    <>
      {/* Password managers file a secret under a name; ours is the same for everyone. */}
      <input type="text" autoComplete="username" value="api-key" readOnly hidden />
      <label className="stacked">
        <span>API key</span>
        <input
          type="password"
          // biome-ignore lint/a11y/noAutofocus: the only thing one can do on this page
          autoFocus
          required
          autoComplete="current-password"
          spellCheck={false}
          placeholder="batchin_api_…"
          value={value}
          aria-invalid={isWrong}
          aria-describedby="login-hint"
          onChange={(event) => onChange(event.target.value)}
        />
      </label>
    </>
  )
}

function toMistake(error: unknown, by: 'key' | 'password'): string {
  if (!(error instanceof ApiError)) return 'Something in this page failed. Reload it and try again.'
  if (error.status === 401 && by === 'password') return 'This email and password do not fit.'
  if (error.status === 401) return 'This key is not known here, or has been revoked.'
  return error.message
}
