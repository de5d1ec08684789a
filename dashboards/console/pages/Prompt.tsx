// One prompt: its versions and which is in force, what is different between two of them, and how it came to be so.

import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTitle } from '../Console.tsx'
import { ApiError, promptQuery, sessionQuery } from '../client.ts'
import { counted } from '../format.ts'
import { replace } from '../history.ts'
import { Diff } from '../prompts/Diff.tsx'
import { History } from '../prompts/History.tsx'
import { type Move, MoveDialog } from '../prompts/MoveDialog.tsx'
import { Versions } from '../prompts/Versions.tsx'
import { Badge, Empty, Failure, Id, Link, Loading, Text } from '../ui/atoms.tsx'
import { type Compared, link, parseCompared } from '../url.ts'
import type { Registry } from '../wire-prompts.ts'

export function Prompt({ registryId, search }: { registryId: string; search: string }) {
  const found = useQuery(promptQuery(registryId))
  useTitle(registryId)
  if (found.data) return <Found registry={found.data} search={search} />
  if (found.isPending) return <Loading what={`prompt ${registryId}`} />
  if (found.error instanceof ApiError && found.error.status === 404) {
    return (
      <Empty icon="prompts" title="There is no such prompt">
        <p>
          Nothing here is called <code>{registryId}</code>. Go to the{' '}
          <Link href={link.prompts()}>list of prompts</Link>.
        </p>
      </Empty>
    )
  }
  return <Failure error={found.error} what="this prompt" retry={() => void found.refetch()} />
}

function Found({ registry, search }: { registry: Registry; search: string }) {
  const session = useQuery(sessionQuery)
  const mayMove = session.data?.scopes.includes('admin') ?? false
  const [move, setMove] = useState<Move | undefined>()
  const compared = toCompared(registry, parseCompared(search))
  const compare = (next: Partial<Compared>) =>
    replace(link.prompt(registry.registryId, { ...compared, ...next }))
  return (
    <section className="page prompt">
      <Head registry={registry} mayMove={mayMove} onMove={setMove} />
      <div className="prompt-body">
        <InForce registry={registry} />
        <Versions
          registry={registry}
          compared={compared}
          mayMove={mayMove}
          onCompare={compare}
          onMove={setMove}
        />
        <Diff registry={registry} compared={compared} onCompare={compare} />
        <History registryId={registry.registryId} />
      </div>
      {move && <MoveDialog registry={registry} move={move} onClose={() => setMove(undefined)} />}
    </section>
  )
}

// Asked for nothing: the latest against the one in force, or against the one before it.
function toCompared({ versions, ...registry }: Registry, asked: Compared): Compared {
  const ids = versions.map((version) => version.versionId)
  const to = asked.to ?? registry.latestVersionId ?? ids.at(-1)
  const inForce = registry.promotedVersionId ?? registry.baselineVersionId ?? undefined
  const before = ids[ids.indexOf(to ?? '') - 1]
  return { from: asked.from ?? (inForce === to ? before : inForce), to }
}

type HeadProps = { registry: Registry; mayMove: boolean; onMove: (move: Move) => void }

function Head({ registry, mayMove, onMove }: HeadProps) {
  return (
    <header className="page-head">
      <h1>
        <Text>{registry.displayName || registry.registryId}</Text>
      </h1>
      <p className="page-count">
        {counted(registry.versions.length, 'version')}, {counted(registry.totalRuns ?? 0, 'run')}
      </p>
      <Badge title="observe: promotions label; serve: the version in force answers">
        {registry.mode}
      </Badge>
      {mayMove && registry.promotedVersionId && (
        <button
          type="button"
          className="button prompt-back"
          onClick={() => onMove({ kind: 'rollback' })}
        >
          Roll back …
        </button>
      )}
    </header>
  )
}

/** In a sentence, because it is the first thing that anybody asks. */
function InForce({ registry }: { registry: Registry }) {
  const { promotedVersionId: promoted, baselineVersionId: baseline, canary } = registry
  const version = promoted ?? baseline
  const routes = registry.promotionEffect === 'routing'
  return (
    <div className="prompt-now">
      <p>
        {version === null ? (
          'No version is stable yet: one more often seen becomes the baseline by itself.'
        ) : (
          <>
            <Id id={version} what="version" />{' '}
            {promoted === null
              ? 'is the baseline: the first that was stable. None has been promoted yet.'
              : routes
                ? 'is in force and answers.'
                : 'is in force, as the reference that new versions are held against.'}
          </>
        )}
      </p>
      {canary && (
        <p>
          <Id id={canary.versionId} what="version" /> answers {Math.round(canary.share * 100)} % of
          the traffic as a canary.
        </p>
      )}
      {registry.pinnedVersionId && (
        <p>
          Pinned to <Id id={registry.pinnedVersionId} what="version" />: nothing else is promoted.
        </p>
      )}
      {registry.flooded && (
        <p className="prompt-warning" role="status">
          More new versions came within an hour than edits would make. This looks like a variable;
          no experiment starts by itself.
        </p>
      )}
    </div>
  )
}
