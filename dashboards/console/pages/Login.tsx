// The way in: an API key becomes a session cookie that scripts cannot read. The key itself is kept nowhere in the browser.

import { useState } from 'react'
import { useTitle } from '../Console.tsx'
import { ApiError, login, queryClient, sessionQuery } from '../client.ts'
import { push } from '../history.ts'
import { Icon, Mark } from '../ui/icons.tsx'
import { ThemeToggle } from '../ui/ThemeToggle.tsx'
import { link, parseNext } from '../url.ts'

export function Login({ search }: { search: string }) {
  useTitle('Sign in')
  const [key, setKey] = useState('')
  const [state, setState] = useState<{ busy: boolean; mistake: string }>({
    busy: false,
    mistake: '',
  })
  const submit = async () => {
    setState({ busy: true, mistake: '' })
    try {
      await login(key.trim())
      await queryClient.resetQueries({ queryKey: sessionQuery.queryKey })
      await queryClient.ensureQueryData(sessionQuery)
      push(parseNext(search))
    } catch (error) {
      setState({ busy: false, mistake: toMistake(error) })
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
        <KeyField value={key} isWrong={state.mistake !== ''} onChange={setKey} />
        {state.mistake !== '' && (
          <p className="login-mistake" role="alert">
            {state.mistake}
          </p>
        )}
        <button
          type="submit"
          className="button button-main"
          disabled={state.busy || key.trim() === ''}
        >
          {state.busy ? 'Signing in …' : 'Sign in'}
        </button>
        <p id="login-hint" className="quiet">
          The first start prints a key once, in the terminal. It needs the scope <code>read</code>.
        </p>
      </form>
      <a className="plain" href={link.verify()}>
        <Icon name="verify" /> Verify evidence without signing in
      </a>
    </div>
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

function toMistake(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Something in this page failed. Reload it and try again.'
  if (error.status === 401) return 'This key is not known here, or has been revoked.'
  return error.message
}
