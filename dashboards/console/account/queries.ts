// What the console asks about keys and usage.

import { queryOptions } from '@tanstack/react-query'
import { get, queryClient, send } from '../client.ts'
import { readKeys, readMadeKey, readUsage } from './wire.ts'

export const keysQuery = queryOptions({
  queryKey: ['keys'],
  queryFn: async ({ signal }) => readKeys(await get('/v1/keys', signal)),
  staleTime: 5_000,
})

export function usageQuery(days: number) {
  return queryOptions({
    queryKey: ['usage', days],
    queryFn: async ({ signal }) => readUsage(await get(`/v1/usage?days=${days}`, signal)),
    staleTime: 10_000,
  })
}

export type KeyWish = {
  name: string
  scopes: string[]
  rate_limit_rpm: number | null
  monthly_budget_cents: number | null
}

/** The new key in clear; nobody can ask for it again. */
export async function makeKey(wish: KeyWish): Promise<string> {
  const answer = await send('POST', '/v1/keys', wish)
  const key = readMadeKey(await answer.json())
  void queryClient.invalidateQueries({ queryKey: keysQuery.queryKey })
  if (key === null) throw new Error('The answer held no key.')
  return key
}

export async function revokeKey(id: string): Promise<void> {
  try {
    await send('DELETE', `/v1/keys/${encodeURIComponent(id)}`)
  } finally {
    await queryClient.invalidateQueries({ queryKey: keysQuery.queryKey })
  }
}
