import { stateOf, type Presence, type State } from './states.ts'
import type { components } from './schema.d.ts'
import type { Sentences } from '../sentences/en.ts'

export type Entry = components['schemas']['TimelineEntry']

/** Adds lines to a list that has the newest first, each once. */
export function merge(items: Entry[], lines: Entry[], most: number): Entry[] {
  const key = (entry: Entry) => entry.source + entry.id
  const known = new Set(items.map(key))
  const fresh = lines.filter((line) => !known.has(key(line))).reverse()
  return [...fresh, ...items].slice(0, most)
}

/** The arrow of what went over the wire: up from the device, down to it. */
export function entryArrow(entry: Entry): '↑' | '↓' | '' {
  if (entry.direction === 'out') return '↓'
  return entry.direction === 'in' || entry.what === 'uplink' ? '↑' : ''
}

/** The glyph of an entry, or none. Green and filled is the device's own ack alone. */
export function entryGlyph(entry: Entry): State | Presence | undefined {
  switch (entry.what) {
    case 'connected':
      return 'online'
    case 'closed':
      return 'offline'
    case 'refused':
      return 'rejected'
    case 'heartbeat_missed':
      return 'suspect'
    case 'delivery':
      switch (entry.state) {
        case 'unanswered':
        case 'retry_later':
        case 'not_handled':
          return 'queued'
        case 'working':
          return 'sent'
        case 'late_ack':
          return 'acked'
        default:
          return stateOf(entry.state ?? '')
      }
    default:
      return undefined
  }
}

/** What an entry says: its name, and what belongs to it. */
export function entryWords(t: Sentences, entry: Entry): { what: string; detail: string } {
  const reason = entry.reason ? reasonWords(t, entry.reason) : ''
  const parts: string[] = []
  switch (entry.what) {
    case 'connected':
      if (entry.remote_addr) parts.push(entry.remote_addr)
      if (entry.dialect) parts.push(entry.dialect)
      if (entry.transport === 'tls') parts.push('TLS')
      return { what: t.kind.connected, detail: parts.join(' · ') }
    case 'closed':
      return { what: t.kind.closed, detail: [entry.by && entry.reason !== 'replaced' ? t.by[entry.by] : '', reason].filter(Boolean).join(' · ') }
    case 'refused':
      return { what: t.kind.refused, detail: [reason, entry.count ? t.times(entry.count) : '', entry.remote_addr ?? ''].filter(Boolean).join(' · ') }
    case 'heartbeats':
      return { what: t.kind.heartbeats, detail: entry.count ? t.times(entry.count) : '' }
    case 'delivery':
      return { what: entry.state ? t.step[entry.state] : t.kind.delivery, detail: [entry.attempts && entry.attempts > 1 ? t.attempts(entry.attempts) : '', reason].filter(Boolean).join(' · ') }
    case 'frame':
      return { what: entry.frame ? t.frame[entry.frame] : t.kind.frame, detail: [entry.number ? '#' + entry.number : '', entry.code ?? '', reason].filter(Boolean).join(' · ') }
    default:
      return { what: t.kind[entry.what], detail: reason }
  }
}

/** The words of a reason, whichever list it is of. */
export function reasonWords(t: Sentences, reason: string): string {
  for (const words of [t.close, t.refusal, t.detail, t.reason] as Record<string, string>[]) {
    if (Object.hasOwn(words, reason)) return words[reason]!.replace(/[.。]$/, '')
  }
  return reason
}
