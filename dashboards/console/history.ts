// The History API as a store React can read. Going somewhere pushes; adjusting what is shown replaces.

import { useSyncExternalStore } from 'react'

export type Url = { pathname: string; search: string }

const listeners = new Set<() => void>()
let current: Url = { pathname: location.pathname, search: location.search }

addEventListener('popstate', announce)

export function push(href: string): void {
  if (href === current.pathname + current.search) return
  history.pushState(null, '', href)
  announce()
}

export function replace(href: string): void {
  if (href === current.pathname + current.search) return
  history.replaceState(null, '', href)
  announce()
}

export function useUrl(): Url {
  return useSyncExternalStore(subscribe, () => current)
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function announce(): void {
  current = { pathname: location.pathname, search: location.search }
  for (const listener of listeners) listener()
}
