// What calls are called where strangers read, which is /metrics: of a route that is not public its label, and nothing of who
// answers behind it.

import type { Call } from './call.ts'

/** In place of a provider or a model behind a route that is not public. */
export const unshown = 'private'

export function shownRoute({ route }: Pick<Call, 'route'>): string {
  return route.public ? route.id : route.label
}

export function shownProvider({ route, provider }: Pick<Call, 'route' | 'provider'>): string {
  return route.public ? provider : unshown
}

export function shownModel({ route, modelAsked }: Pick<Call, 'route' | 'modelAsked'>): string {
  return route.public ? modelAsked : unshown
}
