// The built console, served from memory under a policy that lets nothing run but its own script.

import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type Router from '@koa/router'
import type { Context } from 'koa'
import { Fault } from '../../schemas/faults.ts'

// Model output is hostile text: no inline script, no other origin, no frame, and no string may become script.
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "object-src 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
}

/** Routes of the console, of `/verify` and of the pages under `/docs`. `dir` holds the build; without one every page answers how to make it. */
export async function consoleRoutes(router: Router, dir: string): Promise<void> {
  const files = await loadFiles(dir)
  const page = (name: string) => (ctx: Context) => send(ctx, files.get(name))

  router.get('/', (ctx) => ctx.redirect('/console/traces'))
  router.get('/verify', page(files.has('verify.html') ? 'verify.html' : 'index.html'))
  router.get('/docs/:page', (ctx) => send(ctx, files.get(`docs/${ctx.params.page}.html`)))
  router.get('/console', (ctx) => ctx.redirect('/console/traces'))
  router.get('/console/assets/:file', (ctx) => {
    send(ctx, files.get(`assets/${ctx.params.file}`))
    ctx.set('Cache-Control', 'public, max-age=31536000, immutable')
  })
  // Every other path below is a page of the client; the client says so itself when it has none by that name.
  router.get('/console/*path', page('index.html'))
}

async function loadFiles(dir: string): Promise<Map<string, { type: string; bytes: Buffer }>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = new Map<string, { type: string; bytes: Buffer }>()
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const type = types[extname(entry.name)]
    if (type) files.set(path.slice(dir.length + 1), { type, bytes: await readFile(path) })
  }
  return files
}

function send(ctx: Context, file: { type: string; bytes: Buffer } | undefined): void {
  if (!file)
    throw new Fault('not_found', {
      message: 'There is no such page, or the console is not built: npm run build.',
    })
  ctx.set('Content-Security-Policy', policy)
  ctx.set('Referrer-Policy', 'no-referrer')
  ctx.set('Cross-Origin-Opener-Policy', 'same-origin')
  ctx.set('Cross-Origin-Resource-Policy', 'same-origin')
  ctx.set('Cache-Control', 'no-store')
  ctx.set('Content-Type', file.type)
  ctx.body = file.bytes
}
