// What calls are called where strangers read, which is /metrics, and where those who make them do: of a route that is not public
// its label, and nothing of who answers behind it.

import type { Call } from './call.ts'
import { sandboxProvider } from './sandbox/sandbox.ts'

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

/** As runs and notes keep it, which their workspace reads. Who runs the plane sees who answered; nobody else behind such a route. */
export function storedNames(call: Pick<Call, 'route' | 'provider' | 'caller'>): {
  routeId: string
  provider: string
  isHidden: boolean
} {
  const { route, provider, caller } = call
  if (route.public || caller.isOwner) return { routeId: route.id, provider, isHidden: false }
  // The sandbox is named everywhere, so that nobody takes it for a model.
  const named = provider === sandboxProvider ? provider : ''
  return { routeId: route.label, provider: named, isHidden: true }
}
