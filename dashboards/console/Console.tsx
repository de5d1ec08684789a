// Which page the URL means, and whether its reader has a session. The map of the console.

import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { sessionQuery } from './client.ts'
import { replace, useUrl } from './history.ts'
import { Experiment } from './pages/Experiment.tsx'
import { Experiments } from './pages/Experiments.tsx'
import { Login } from './pages/Login.tsx'
import { Prompt } from './pages/Prompt.tsx'
import { Prompts } from './pages/Prompts.tsx'
import { Settings } from './pages/Settings.tsx'
import { Trace } from './pages/Trace.tsx'
import { Traces } from './pages/Traces.tsx'
import { Usage } from './pages/Usage.tsx'
import { Shell } from './Shell.tsx'
import { Failure, Link, Loading } from './ui/atoms.tsx'
import { Boundary } from './ui/Boundary.tsx'
import { link, type Page, pageOf } from './url.ts'

export function Console() {
  const url = useUrl()
  const page = pageOf(url.pathname)
  const session = useQuery(sessionQuery)
  const stranger = session.data === null && page.name !== 'login'
  useEffect(() => {
    if (stranger) replace(link.login(url.pathname + url.search))
  }, [stranger, url])
  if (page.name === 'login') return <Login search={url.search} />
  if (session.isError && !session.data) {
    return (
      <Failure error={session.error} what="your session" retry={() => void session.refetch()} />
    )
  }
  if (!session.data) return <Loading what="your session" />
  return (
    <Shell page={page} session={session.data}>
      <Boundary key={url.pathname}>
        <Shown page={page} search={url.search} />
      </Boundary>
    </Shell>
  )
}

function Shown({ page, search }: { page: Page; search: string }) {
  switch (page.name) {
    case 'traces':
      return <Traces search={search} />
    case 'trace':
      return <Trace key={page.traceId} traceId={page.traceId} search={search} />
    case 'prompts':
      return <Prompts />
    case 'prompt':
      return <Prompt key={page.registryId} registryId={page.registryId} search={search} />
    case 'experiments':
      return <Experiments />
    case 'experiment':
      return <Experiment key={page.id} id={page.id} />
    case 'usage':
      return <Usage search={search} />
    case 'settings':
      return <Settings />
    case 'login':
      return null
    case 'missing':
      return <Missing />
    default:
      return page satisfies never
  }
}

function Missing() {
  useTitle('Not found')
  return (
    <div className="state">
      <h2>There is no such page</h2>
      <p>
        Go to the <Link href={link.traces()}>list of traces</Link>.
      </p>
    </div>
  )
}

/** What the browser tab says. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Runledger`
  }, [title])
}
