// The versions of a prompt, the latest first, with what can be done to each.

import { absent, count } from '../format.ts'
import { Badge, Copy, Id, Link, Status, Text, Time } from '../ui/atoms.tsx'
import { type Compared, link } from '../url.ts'
import type { PromptVersion, Registry } from '../wire-prompts.ts'
import type { Move } from './MoveDialog.tsx'

// The latest are what one looks for; a table of thousands would hold up the page.
const shownMax = 100

type Props = {
  registry: Registry
  compared: Compared
  mayMove: boolean
  onCompare: (next: Partial<Compared>) => void
  onMove: (move: Move) => void
}

export function Versions(props: Props) {
  const { registry } = props
  const shown = registry.versions.toReversed().slice(0, shownMax)
  const hidden = registry.versions.length - shown.length
  return (
    <section aria-labelledby="versions">
      <h2 id="versions">Versions</h2>
      <div className="prompt-scroll">
        <table className="prompt-table">
          <thead>
            <tr>
              <th>Version</th>
              <th>Status</th>
              <th data-number>Runs</th>
              <th>First seen</th>
              <th>Last seen</th>
              <th>Content hash</th>
              <th>
                <span className="sr">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((version) => (
              <Row key={version.versionId} version={version} {...props} />
            ))}
          </tbody>
        </table>
      </div>
      {hidden > 0 && <p className="quiet">{count(hidden)} older versions are not shown.</p>}
    </section>
  )
}

function Row({ version, registry, compared, mayMove, ...on }: Props & { version: PromptVersion }) {
  const { versionId } = version
  const inForce = registry.promotedVersionId === versionId
  const mayPromote = mayMove && !inForce && version.status !== 'retired'
  return (
    <tr data-compared={compared.to === versionId || undefined}>
      <td className="mono">
        <Text>{versionId}</Text> <Copy text={versionId} what="version" />
        {inForce && <Badge title="the version in force">in force</Badge>}
        {registry.pinnedVersionId === versionId && <Badge title="held in force">pinned</Badge>}
        {version.conflict && (
          <Badge title="came with a name that already had another content">conflict</Badge>
        )}
      </td>
      <td>
        <Status status={version.status} />
      </td>
      <td data-number>
        <Link href={link.traces({ range: 'all', by: { prompt_version_id: versionId } })}>
          {count(version.totalRuns)}
        </Link>
      </td>
      <td>{version.firstSeenAt ? <Time iso={version.firstSeenAt} /> : absent}</td>
      <td>{version.lastSeenAt ? <Time iso={version.lastSeenAt} /> : absent}</td>
      <td>
        {version.contentHash ? <Id id={version.contentHash} what="content hash" short /> : absent}
      </td>
      <td className="prompt-actions">
        <button type="button" className="plain" onClick={() => on.onCompare({ to: versionId })}>
          Compare
        </button>
        {mayPromote && (
          <button
            type="button"
            className="plain"
            onClick={() => on.onMove({ kind: 'promote', versionId })}
          >
            Promote …
          </button>
        )}
      </td>
    </tr>
  )
}
