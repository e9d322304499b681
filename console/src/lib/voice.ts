import { app } from './app.svelte.ts'
import type { Voice } from './fill.ts'

/** How facts are said now: the language, the zone, and the words for codes. */
export function voice(): Voice {
  const t = app.t
  const words: Record<string, string>[] = [t.close, t.refusal, t.uplinkRefusal, t.by, t.detail, t.reason, t.damage, t.webhookDisabled]
  return {
    language: app.language,
    zone: app.zone,
    now: app.now,
    word: (code, name) => {
      // A status and a reason may have one name: expired.
      for (const each of name === 'status' ? [t.status as Record<string, string>] : words) if (Object.hasOwn(each, code)) return each[code]!.replace(/[.。]$/, '')
      return code
    },
  }
}
