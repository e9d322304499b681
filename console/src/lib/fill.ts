// Sentences with facts: "{count} devices" and { count: 3 } make "3 devices". Facts come
// from the gateway as codes and numbers; names of facts tell how they are written.

import { age, bytes, clockTime, number, type Language, type Zone } from './format.ts'

export interface Voice {
  language: Language
  zone: Zone
  /** The server's time. */
  now: number
  /** What stands for a code that is a fact, such as a reason; name is the fact's. */
  word: (code: string, name: string) => string
}

export type Facts = Record<string, unknown>

/** One fact as a person reads it. */
export function fact(name: string, value: unknown, voice: Voice): string {
  if (typeof value === 'number') {
    if (name.endsWith('_bytes')) return bytes(value, voice.language)
    if (name.endsWith('_seconds')) return age(Math.abs(value) * 1000, voice.language)
    return number(value, voice.language)
  }
  if (typeof value === 'string') {
    if (/(_at|_until|since)$/.test(name) && !Number.isNaN(Date.parse(value))) return clockTime(Date.parse(value), voice.language, voice.zone, voice.now)
    return voice.word(value, name)
  }
  return value === undefined || value === null ? '–' : JSON.stringify(value)
}

/** Puts facts into a sentence. A part in brackets that names a missing fact is left out. */
export function fill(sentence: string, facts: Facts, voice: Voice): string {
  const whole = sentence.replace(/\[([^\]]*)\]/g, (_, part: string) => {
    const names = Array.from(part.matchAll(/\{(\w+)\}/g), (match) => match[1]!)
    return names.every((name) => facts[name] !== undefined) ? part : ''
  })
  return whole.replace(/\{(\w+)\}/g, (_, name: string) => fact(name, facts[name], voice))
}
