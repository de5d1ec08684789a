// GET /v1/media/{sha256}: the bytes behind a reference in a run, for whoever may read the run.

import { createReadStream } from 'node:fs'
import type Router from '@koa/router'
import type { MediaStore } from '../../collectors/proxy/media/store.ts'
import { Fault } from '../../schemas/faults.ts'
import { requireScope } from '../accounts/access.ts'

const notHere =
  'There is no such piece here, or it is kept no longer. Planes that share their stores share media only in one RUNLEDGER_MEDIA_DIR.'

export function mediaRoutes(router: Router, media: MediaStore): void {
  router.get('/v1/media/:sha256', async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const sha256 = String(ctx.params.sha256)
    const found = /^[0-9a-f]{64}$/.test(sha256) ? await media.find(workspace, sha256) : undefined
    if (!found) throw new Fault('not_found', { message: notHere })
    // Whatever a caller sent is never shown by a browser as a page of ours.
    ctx.set('Content-Type', 'application/octet-stream')
    ctx.set('Content-Disposition', `attachment; filename="${sha256}"`)
    ctx.set('Content-Security-Policy', "default-src 'none'; sandbox")
    ctx.set('X-Content-Type-Options', 'nosniff')
    ctx.length = found.bytes
    ctx.body = createReadStream(found.path)
  })
}
