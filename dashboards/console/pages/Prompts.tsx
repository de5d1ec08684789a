// The prompt registries and their versions: which one is promoted, how much each was used, what still has to prove itself.

import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { useTitle } from '../Console.tsx'
import { promptsQuery } from '../client.ts'
import { absent, count, counted } from '../format.ts'
import { push } from '../history.ts'
import {
  Badge,
  Copy,
  Empty,
  Failure,
  Id,
  Link,
  Loading,
  Snippet,
  Status,
  Text,
  Time,
} from '../ui/atoms.tsx'
import { Cell, HeadCell, HeadRow } from '../ui/Cells.tsx'
import { List } from '../ui/List.tsx'
import { link } from '../url.ts'
import type { PromptVersion, Registry } from '../wire-prompts.ts'

const rowHeight = 36
const headHeight = 32

type Line = { registry: Registry; version: PromptVersion | undefined }

export function Prompts() {
  useTitle('Prompts')
  const found = useQuery(promptsQuery)
  const lines = useMemo(() => toLines(found.data ?? []), [found.data])
  return (
    <section className="page">
      <header className="page-head">
        <h1>Prompts</h1>
        <p className="page-count">
          {found.data && counted(found.data.length, 'registry', 'registries')}
        </p>
      </header>
      {found.isPending && <Loading what="prompts" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="prompts" retry={() => void found.refetch()} />
      )}
      {found.data && lines.length === 0 && <NoPrompts />}
      {lines.length > 0 && <PromptList lines={lines} />}
    </section>
  )
}

function PromptList({ lines }: { lines: Line[] }) {
  const [active, setActive] = useState(-1)
  return (
    <List
      className="prompts"
      label="Prompt versions"
      role="treegrid"
      count={lines.length}
      rowHeight={rowHeight}
      headHeight={headHeight}
      head={<Head />}
      rowKey={(at) => keyOf(lines[at]!)}
      active={active}
      onActive={setActive}
      onOpen={(at) => {
        const line = lines[at]
        if (line) push(hrefOf(line))
      }}
      rowProps={(at) =>
        ({
          'aria-level': lines[at]!.version ? 2 : 1,
          'data-kind': lines[at]!.version ? 'version' : 'registry',
        }) as const
      }
      row={(at) => <Row line={lines[at]!} />}
      place="prompts"
    />
  )
}

const columns = ['Prompt', 'Status', 'Runs', 'First seen', 'Last seen', 'Content hash']

function Head() {
  return (
    <HeadRow>
      {columns.map((title) => (
        <HeadCell key={title} isNumber={title === 'Runs'}>
          {title}
        </HeadCell>
      ))}
    </HeadRow>
  )
}

function Row({ line: { registry, version } }: { line: Line }) {
  if (!version) {
    return (
      <>
        <Cell className="registry">
          <Link className="row-link" tabIndex={-1} href={link.prompt(registry.registryId)}>
            <Text>{registry.displayName || registry.registryId}</Text>
          </Link>
          <Badge title="observe: promotions label; serve: the promoted version answers">
            {registry.mode}
          </Badge>
          <span className="quiet">
            {registry.source === 'auto_backfill' ? 'discovered' : registry.source}
          </span>
        </Cell>
        <Cell />
        <Cell isNumber>{count(registry.totalRuns)}</Cell>
        <Cell />
      </>
    )
  }
  const promoted = registry.promotedVersionId === version.versionId
  return (
    <>
      <Cell className="version">
        <Link className="row-link mono" tabIndex={-1} href={hrefOf({ registry, version })}>
          <Text>{version.versionId}</Text>
        </Link>
        {promoted && <Badge title="the version in force">in force</Badge>}
        {version.conflict && (
          <Badge title="came with a name that already had another content">conflict</Badge>
        )}
        <Copy text={version.versionId} what="version" />
      </Cell>
      <Cell>
        <Status status={version.status} />
      </Cell>
      <Cell isNumber>{count(version.totalRuns)}</Cell>
      <Cell>{version.firstSeenAt ? <Time iso={version.firstSeenAt} /> : absent}</Cell>
      <Cell>{version.lastSeenAt ? <Time iso={version.lastSeenAt} /> : absent}</Cell>
      <Cell>
        {version.contentHash ? <Id id={version.contentHash} what="content hash" short /> : absent}
      </Cell>
    </>
  )
}

function NoPrompts() {
  return (
    <Empty icon="prompts" title="No prompts yet">
      <p>
        Send calls through the proxy: prompts that come again are found, and each edit of one is a
        new version. A name may be given, and need not be.
      </p>
      <Snippet
        label="A call with a named prompt"
        code={`curl ${location.origin}/v1/chat/completions \\
  -H "Authorization: Bearer $RUNLEDGER_KEY" \\
  -H "X-BatchIn-Prompt: support" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"gpt-4o-mini","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}]}'`}
      />
    </Empty>
  )
}

function toLines(registries: Registry[]): Line[] {
  return registries.flatMap((registry) => [
    { registry, version: undefined },
    ...registry.versions.map((version) => ({ registry, version })),
  ])
}

// A version opens against the one in force: what is different is what one wants to know of it.
function hrefOf({ registry, version }: Line): string {
  return link.prompt(registry.registryId, version ? { to: version.versionId } : {})
}

function keyOf({ registry, version }: Line): string {
  return version ? version.versionId : `registry ${registry.registryId}`
}
