import type { components } from './schema.d.ts'

export type AudienceKind = 'client' | 'clients' | 'group' | 'labels' | 'all'

/** The audience that the fields of the form name, or null while they name none. */
export function audienceOf(kind: AudienceKind, text: string): components['schemas']['Audience'] | null {
  const lines = text
    .split(/[\n,]/)
    .map((line) => line.trim())
    .filter(Boolean)
  switch (kind) {
    case 'all':
      return { all: true }
    case 'client':
      return lines[0] ? { client: lines[0] } : null
    case 'clients':
      return lines.length ? { clients: [...new Set(lines)] } : null
    case 'group':
      return lines[0] ? { group: lines[0] } : null
    case 'labels': {
      const labels = new Map<string, string>()
      for (const line of lines) {
        const at = line.indexOf('=')
        const [name, value] = [line.slice(0, at), line.slice(at + 1)]
        if (at <= 0 || (labels.get(name) ?? value) !== value) return null // no client has two values
        labels.set(name, value)
      }
      return lines.length ? { labels: Object.fromEntries(labels) } : null
    }
  }
}
