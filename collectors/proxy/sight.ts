// The prompt version of a call that names none: known at once, found while the upstream thinks, or told to the stored run later.

import { parsePromptVersionId } from '../../schemas/ids.ts'
import type { Run } from '../../schemas/run.ts'
import type { Call } from './call.ts'

/** What was found so far. Over: the run has been written as it is known now. */
export type Sight = { prompt: Run['prompt']; isOver: boolean }

/** Shows the call to whoever finds versions; before the upstream answers, so that an answer may already say it. */
export function sight(call: Call): void {
  const { deps, operation, request, named, sight } = call
  // Of a call whose texts are not kept, none is looked at; and replays are no traffic: they would be found as new versions.
  if (call.origin === 'replay') return
  if (!deps.sights || !operation.namesPrompt || call.capture !== 'full') return
  const versionId = deps.sights.see(
    {
      workspace: call.caller.workspace,
      ref: call.runId,
      messages: operation.keptInput(request),
      tools: request.tools,
      responseFormat: request.response_format ?? request.text,
      temperature: request.temperature,
      slug: named?.slug,
      version: named?.version,
      user: call.userId,
      redact: deps.redaction?.text,
      atMs: call.startedAtMs,
    },
    (found) => {
      if (sight.isOver) return false
      sight.prompt = toPrompt(found)
      return true
    },
  )
  if (versionId !== undefined) sight.prompt = toPrompt(versionId)
  if (isFree(call) && sight.prompt) call.prompt = sight.prompt
}

/** The version under which the run is stored. A record says it too, unless it was opened and has spoken already. */
export function settleSight(call: Call, isOpened: boolean): Run['prompt'] {
  call.sight.isOver = true
  const prompt = isFree(call) ? (call.sight.prompt ?? call.prompt) : call.prompt
  if (!isOpened) call.prompt = prompt
  return prompt
}

// Who names a version means it; who names a prompt alone, or none, is told.
function isFree({ named }: Call): boolean {
  return named?.version === undefined
}

function toPrompt(versionId: string): Run['prompt'] {
  const registryId = parsePromptVersionId(versionId)?.slug
  return registryId === undefined ? undefined : { registryId, versionId }
}
