// What the workspace used and what it cost: in all, by day, by model.

import { useQuery } from '@tanstack/react-query'
import { usageQuery } from '../account/queries.ts'
import type { Totals, UsageRow } from '../account/wire.ts'
import { useTitle } from '../Console.tsx'
import { cost, count } from '../format.ts'
import { replace } from '../history.ts'
import { Empty, Failure, Loading, Text } from '../ui/atoms.tsx'
import { link, parseDays, usageDays } from '../url.ts'

export function Usage({ search }: { search: string }) {
  useTitle('Usage')
  const days = parseDays(search)
  const found = useQuery(usageQuery(days))
  return (
    <section className="page">
      <header className="page-head">
        <h1>Usage</h1>
        <label className="account-new">
          <span className="quiet">The last</span>{' '}
          <select
            value={days}
            onChange={(event) => replace(link.usage(Number(event.target.value)))}
          >
            {usageDays.map((some) => (
              <option key={some} value={some}>
                {some} days
              </option>
            ))}
          </select>
        </label>
      </header>
      {found.isPending && <Loading what="usage" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="usage" retry={() => void found.refetch()} />
      )}
      {found.data?.requests === 0 && (
        <Empty icon="usage" title="Nothing was used">
          <p>Calls through this plane appear here with their tokens and what they cost.</p>
        </Empty>
      )}
      {found.data && found.data.requests !== 0 && (
        <div className="prompt-body">
          <Sum totals={found.data} />
          <Rows title="By model" rows={found.data.byModel} />
          <Rows title="By day, UTC" rows={found.data.byDay.toReversed()} />
        </div>
      )}
    </section>
  )
}

function Sum({ totals }: { totals: Totals }) {
  const facts: [string, string][] = [
    ['Requests', count(totals.requests)],
    ['Input tokens', count(totals.inputTokens)],
    ['Output tokens', count(totals.outputTokens)],
    ['Cost', costOf(totals)],
  ]
  return (
    <dl className="account-sum">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

function Rows({ title, rows }: { title: string; rows: UsageRow[] }) {
  return (
    <section>
      <h2>{title}</h2>
      <div className="prompt-scroll">
        <table className="prompt-table" aria-label={title}>
          <thead>
            <tr>
              <th>{title.startsWith('By model') ? 'Model' : 'Day'}</th>
              <th data-number>Requests</th>
              <th data-number>Input tokens</th>
              <th data-number>Output tokens</th>
              <th data-number>Cost</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <td className="mono">
                  <Text>{row.name}</Text>
                </td>
                <td data-number>{count(row.requests)}</td>
                <td data-number>{count(row.inputTokens)}</td>
                <td data-number>{count(row.outputTokens)}</td>
                <td data-number>{costOf(row)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** What is known of the cost, and how many requests it leaves out. */
function costOf({ costCents, unpriced, requests }: Totals): string {
  const known = cost(costCents === null ? null : costCents / 100)
  if (!unpriced) return known
  if (unpriced === requests) return 'no price'
  return `${known} + ${count(unpriced)} without a price`
}
