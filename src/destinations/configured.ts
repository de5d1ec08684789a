// The destinations that the configuration file names, kept as it says: the file is the operator's word, so their addresses are
// trusted; those made through the API are left alone.

import type { ConfiguredDestination } from '../../schemas/config.ts'
import type { DestinationInput } from '../../schemas/destination.ts'
import { ensureOwner } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import { readPushFilters } from './filters.ts'
import { isOwnAddress } from './own-address.ts'
import type { DestinationStore } from './store.ts'

/** New ones begin, known ones are revised and go on from where they are, those no longer named are removed. */
export async function configureDestinations(
  deps: {
    sql: Postgres
    store: DestinationStore
    firstCursor: (input: DestinationInput) => bigint
    /** Where this plane listens. */
    url: () => string
  },
  rows: readonly ConfiguredDestination[],
): Promise<void> {
  const { sql, store } = deps
  for (const { name, filter, url } of rows) {
    if (isOwnAddress(new URL(url), new URL(deps.url())))
      throw new Error(`destinations: ${name}: ${url} is the address of Runledger itself.`)
    try {
      readPushFilters(filter)
    } catch (cause) {
      throw new Error(`destinations: ${name}: ${cause instanceof Error ? cause.message : cause}`)
    }
  }
  const kept: string[] = []
  for (const { workspace, ...input } of rows) {
    const owner = await getOwner(sql, workspace, input.name)
    const known = (await store.list(owner)).find(({ name }) => name === input.name)
    if (known && !known.isTrusted)
      throw new Error(
        `destinations: ${input.name} is the name of one that was made through the API.`,
      )
    if (known) await store.revise(known.id, input)
    const at = { cursor: deps.firstCursor(input), isTrusted: true }
    const made = known ?? (await store.insert(owner, input, at))
    if (made) kept.push(made.id)
  }
  await store.removeConfigured(kept)
}

async function getOwner(sql: Postgres, email: string | undefined, name: string): Promise<string> {
  if (email === undefined) return ensureOwner(sql)
  const [row] = await sql.query<{ id: string }>('SELECT id FROM users WHERE email = $1', [
    email.toLowerCase(),
  ])
  if (!row) throw new Error(`destinations: ${name} names ${email}, and there is no such user.`)
  return row.id
}
