import { app } from './app.svelte.ts'
import type { Voice } from './fill.ts'

/** How facts are said now: the language, the zone, and the words for codes. */
export function voice(): Voice {
  const t = app.t
  const words: Record<string, string>[] = [t.close, t.refusal, t.by, t.detail, t.reason, t.damage, t.status]
  return {
    language: app.language,
    zone: app.zone,
    now: app.now,
    word: (code) => {
      for (const each of words) if (Object.hasOwn(each, code)) return each[code]!.replace(/[.。]$/, '')
      return code
    },
  }
}
