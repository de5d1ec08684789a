// What stands around every page: where one can go, whose data this is, how it looks.

import type { ReactNode } from 'react'
import { logout } from './client.ts'
import { push } from './history.ts'
import { Link } from './ui/atoms.tsx'
import { Icon, type IconName, Mark } from './ui/icons.tsx'
import { Keys } from './ui/Keys.tsx'
import { ThemeToggle } from './ui/ThemeToggle.tsx'
import { link, type Page } from './url.ts'
import type { Session } from './wire.ts'

const places: { name: string; icon: IconName; href: string; pages: Page['name'][] }[] = [
  { name: 'Traces', icon: 'traces', href: link.traces(), pages: ['traces', 'trace'] },
  { name: 'Prompts', icon: 'prompts', href: link.prompts(), pages: ['prompts', 'prompt'] },
  {
    name: 'Experiments',
    icon: 'experiments',
    href: link.experiments(),
    pages: ['experiments', 'experiment'],
  },
  { name: 'Usage', icon: 'usage', href: link.usage(), pages: ['usage'] },
  { name: 'Settings', icon: 'keys', href: link.settings(), pages: ['settings'] },
]

export function Shell({
  page,
  session,
  children,
}: {
  page: Page
  session: Session
  children: ReactNode
}) {
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to content
      </a>
      <nav className="side" aria-label="Console">
        <Link className="brand" href={link.traces()} aria-label="Runledger, list of traces">
          <Mark />
          <span className="side-word">Runledger</span>
        </Link>
        <ul>
          {places.map((place) => (
            <li key={place.name}>
              <Link
                className="side-link"
                href={place.href}
                aria-label={place.name}
                aria-current={place.pages.includes(page.name) ? 'page' : undefined}
              >
                <Icon name={place.icon} />
                <span className="side-word">{place.name}</span>
              </Link>
            </li>
          ))}
          <li>
            {/* Another page with another entry: a full load, so that it stays public and works alone. */}
            <a className="side-link" href={link.verify()} aria-label="Verify">
              <Icon name="verify" />
              <span className="side-word">Verify</span>
            </a>
          </li>
        </ul>
        <div className="side-foot">
          <dl className="side-facts side-word">
            <dt>Environment</dt>
            <dd>{session.environment}</dd>
            <dt>Workspace</dt>
            <dd title={session.workspace}>
              <code>{session.workspace.slice(0, 8)}</code>
            </dd>
            <dt>Version</dt>
            <dd>{session.version}</dd>
          </dl>
          <div className="side-tools">
            <ThemeToggle />
            <Keys />
            <button
              type="button"
              className="tool"
              aria-label="Sign out"
              title="Sign out"
              onClick={() => void logout().then(() => push(link.login()))}
            >
              <Icon name="out" />
            </button>
          </div>
        </div>
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  )
}
