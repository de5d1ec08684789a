// Light, dark, or whatever the system says; one button that goes round.

import { usePreference } from '../preferences.ts'
import { Icon } from './icons.tsx'

const next = { system: 'light', light: 'dark', dark: 'system' } as const
const icons = { system: 'system', light: 'sun', dark: 'moon' } as const

export function ThemeToggle() {
  const [theme, setTheme] = usePreference('theme')
  const says = `Theme: ${theme}. Switch to ${next[theme]}`
  return (
    <button
      type="button"
      className="tool"
      aria-label={says}
      title={says}
      onClick={() => setTheme(next[theme])}
    >
      <Icon name={icons[theme]} />
    </button>
  )
}
