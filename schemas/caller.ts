// Who is calling, once the key has been read. Everything a request may touch follows from this.

export const scopes = ['ingest', 'proxy', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** The scopes of a key made without naming any. */
export const defaultScopes: readonly Scope[] = ['ingest', 'proxy', 'read']

export type Caller = {
  /** The UUID of the user; a user's data is their workspace. */
  workspace: string
  keyId: string
  scopes: readonly Scope[]
  /**
   * How the caller proved it: a session may read, and write only with the CSRF header; `internal` is this process calling itself,
   * for a workspace that it names.
   */
  by: 'key' | 'session' | 'internal'
  /** False: this key gets whole answers from `/v1/responses`, and a 409 for a stream. */
  responsesStreaming?: boolean
  /** True for the first user, who runs this plane: only they may act for other users. */
  isOwner?: boolean
}
