// JSON that Postgres can look into: texts of models and callers may hold NUL and halves of surrogate pairs, which it keeps and then
// refuses to read. They are replaced, as anywhere else where such text is shown.

export function toStoredJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'string' ? toReadable(member) : member,
  )
}

function toReadable(text: string): string {
  return text.replaceAll('\0', '\ufffd').replaceAll(/\p{Surrogate}/gu, '\ufffd')
}
