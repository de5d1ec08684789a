// The few pictures of the console, drawn on a 16-unit grid in the colour of the text around them.

const paths = {
  traces: 'M2.5 3.5h7M5 6.5h8.5M5 9.5h5M7.5 12.5h6',
  prompts: 'M3 3.5h10v7.5H8L5 13.5V11H3z',
  experiments: 'M6 2.5h4M7 2.5v4L3.5 13h9L9 6.500v-4M5 10.500h6',
  usage: 'M3.5 13V8.500M8 13V3M12.5 13V6',
  keys: 'M5.500 6.500a2.5 2.500 0 1 0 0 5a2.5 2.500 0 1 0 0-5M7.300 7.200L13 3.500M11 4.800l1.500 2',
  verify: 'M8 2.2 13 4v4c0 3-2.1 4.9-5 5.8C5.1 12.9 3 11 3 8V4zM5.7 8l1.7 1.700L10.5 6.5',
  copy: 'M5.5 5.500h7v7h-7zM3.5 10.500v-7h7',
  done: 'M3.5 8.500l3 3 6-7',
  close: 'M4 4l8 8M12 4l-8 8',
  right: 'M6 4l4 4-4 4',
  down: 'M4 6l4 4 4-4',
  left: 'M10 4L6 8l4 4',
  sun: 'M8 5.200a2.8 2.8 0 1 0 0 5.600a2.8 2.8 0 1 0 0-5.600M8 1.500v1.500M8 13v1.500M1.5 8H3M13 8h1.500M3.4 3.400l1.1 1.100M11.5 11.500l1.1 1.100M3.4 12.600l1.1-1.100M11.5 4.500l1.1-1.1',
  moon: 'M13 9.500A5.3 5.3 0 0 1 6.5 3a5.3 5.3 0 1 0 6.5 6.500z',
  system: 'M2.5 3.500h11v7h-11zM6 13.500h4M8 10.500v3',
  out: 'M9.5 3.500h-6v9h6M7 8h6.500M11 5.500L13.5 8 11 10.5',
  file: 'M4 2.500h5L12 5.500v8H4zM9 2.500v3h3',
  refused: 'M4.5 4.500l7 7M11.5 4.500l-7 7',
  none: 'M4 8h8',
  search: 'M7 3a4 4 0 1 0 0 8a4 4 0 1 0 0-8M10 10l3.2 3.2',
} as const

export type IconName = keyof typeof paths

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  )
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <rect width="16" height="16" rx="4" />
      <path d="M4 4.750h8M4 8h5M4 11.250h6.5" />
      <circle cx="12" cy="8" r="1.15" />
    </svg>
  )
}
