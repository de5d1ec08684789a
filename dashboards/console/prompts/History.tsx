// What happened to a prompt, the latest first: who did it, and why.

import { useQuery } from '@tanstack/react-query'
import { promptHistoryQuery } from '../client.ts'
import { Failure, Id, Loading, Text, Time } from '../ui/atoms.tsx'
import type { HistoryEvent } from '../wire-prompts.ts'

export function History({ registryId }: { registryId: string }) {
  const found = useQuery(promptHistoryQuery(registryId))
  return (
    <section aria-labelledby="history">
      <h2 id="history">History</h2>
      {found.isPending && <Loading what="history" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="history" retry={() => void found.refetch()} />
      )}
      {found.data?.items.length === 0 && (
        <p className="quiet">Nothing has happened to it but being named.</p>
      )}
      <ol className="prompt-history">
        {found.data?.items.map((event) => (
          <Event key={event.seq} event={event} />
        ))}
      </ol>
      {found.data?.next && (
        <p className="quiet">
          Older events: <code>GET /v1/prompts/{registryId}/history</code>
        </p>
      )}
    </section>
  )
}

function Event({ event }: { event: HistoryEvent }) {
  const who = event.actor.kind === 'person' ? 'key' : ''
  return (
    <li>
      <Time iso={event.at} />
      <div>
        <p>
          <b>{titles[event.type] ?? event.type.replaceAll('_', ' ')}</b>{' '}
          {event.versionId && <Id id={event.versionId} what="version" />}
          {event.fromId && (
            <>
              {' '}
              <span className="quiet">instead of</span> <Id id={event.fromId} what="version" />
            </>
          )}
          {event.intoId && (
            <>
              {' '}
              <span className="quiet">into</span> <Id id={event.intoId} what="version" />
            </>
          )}
        </p>
        <p className="quiet">
          <Text>{event.reason}</Text> · {who}{' '}
          <code title={event.actor.id}>{short(event.actor.id)}</code>
        </p>
      </div>
      <Id id={event.hash.replace(/^sha256:/, '')} what="hash of this event" short />
    </li>
  )
}

const titles: Record<string, string> = {
  created: 'Created',
  declared: 'Declared',
  discovered: 'Found in traffic',
  baseline: 'Baseline',
  promoted: 'Promoted',
  rolled_back: 'Rolled back to',
  pinned: 'Pinned',
  unpinned: 'Pin taken out',
  canary: 'Canary',
  mode: 'Mode changed',
  policy: 'Policy changed',
  renamed: 'Renamed',
  status: 'Status',
  merged: 'Merged',
  conflict: 'Conflict',
  flooded: 'Flooded with versions',
  resumed: 'Resumed',
}

function short(id: string): string {
  return id.length > 20 ? `${id.slice(0, 8)}…` : id
}
