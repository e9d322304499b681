import type { components } from './schema.d.ts'

export type AudienceKind = 'client' | 'clients' | 'group' | 'labels' | 'all'

/** The audience that the fields of the form name, or null while they name none. */
export function audienceOf(kind: AudienceKind, text: string): components['schemas']['Audience'] | null {
  const word = text.trim()
  const lines = (by: RegExp) => word.split(by).map((line) => line.trim()).filter(Boolean)
  switch (kind) {
    case 'all':
      return { all: true }
    case 'client':
      return word ? { client: word } : null // more than one is refused, not cut to the first
    case 'clients': {
      const ids = [...new Set(lines(/[\n,]/))]
      return ids.length ? { clients: ids } : null
    }
    case 'group':
      return word ? { group: word } : null
    case 'labels': {
      const labels = new Map<string, string>()
      for (const line of lines(/\n/)) { // a value may have commas
        const at = line.indexOf('=')
        const [name, value] = [line.slice(0, at), line.slice(at + 1)]
        if (at <= 0 || (labels.get(name) ?? value) !== value) return null // no client has two values
        labels.set(name, value)
      }
      return labels.size ? { labels: Object.fromEntries(labels) } : null
    }
  }
}
