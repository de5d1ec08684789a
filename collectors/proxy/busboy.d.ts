// The part of busboy that is used here; the package brings no types.

declare module 'busboy' {
  import type { Readable, Writable } from 'node:stream'

  export type FileInfo = { filename?: string; encoding: string; mimeType: string }
  export type FieldInfo = { nameTruncated: boolean; valueTruncated: boolean }

  export type Busboy = Writable & {
    on(
      event: 'file',
      listener: (name: string | undefined, file: Readable, info: FileInfo) => void,
    ): Busboy
    on(
      event: 'field',
      listener: (name: string | undefined, value: string, info: FieldInfo) => void,
    ): Busboy
    on(
      event: 'partsLimit' | 'filesLimit' | 'fieldsLimit' | 'close' | 'drain',
      listener: () => void,
    ): Busboy
    on(event: 'error', listener: (error: Error) => void): Busboy
  }

  export default function busboy(options: {
    headers: Record<string, string>
    defParamCharset: string
    limits: { fieldSize: number; fields: number; files: number; parts: number }
  }): Busboy
}
