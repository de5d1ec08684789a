// What one reader likes, kept in their browser: theme, live lists, widths. Nothing of the data, nothing that a link should carry.

import { useCallback, useSyncExternalStore } from 'react'

export type Preferences = {
  theme: 'system' | 'light' | 'dark'
  live: boolean
  /** Width of the span panel and of the waterfall's name column, in CSS pixels. */
  panelWidth: number
  nameWidth: number
}

const defaults: Preferences = { theme: 'system', live: false, panelWidth: 520, nameWidth: 400 }
const listeners = new Set<() => void>()
let held = load()

export function usePreference<K extends keyof Preferences>(
  key: K,
): [Preferences[K], (value: Preferences[K]) => void] {
  const value = useSyncExternalStore(subscribe, () => held[key])
  const set = useCallback((next: Preferences[K]) => save(key, next), [key])
  return [value, set]
}

function save<K extends keyof Preferences>(key: K, value: Preferences[K]): void {
  held = { ...held, [key]: value }
  try {
    localStorage.setItem(`runledger.${key}`, JSON.stringify(value))
  } catch {
    // Private windows may refuse storage: the preference then lasts as long as the page.
  }
  if (key === 'theme') showTheme(held.theme)
  for (const listener of listeners) listener()
}

function load(): Preferences {
  const found: Record<string, unknown> = {}
  for (const [key, fallback] of Object.entries(defaults)) {
    try {
      const value: unknown = JSON.parse(localStorage.getItem(`runledger.${key}`) ?? 'null')
      if (typeof value === typeof fallback) found[key] = value
    } catch {
      // An unreadable preference is no preference.
    }
  }
  return { ...defaults, ...found }
}

function showTheme(theme: Preferences['theme']): void {
  if (theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
