import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { fill } from '../src/lib/fill.ts'
import { voice } from '../src/lib/voice.ts'
import { en } from '../src/sentences/en.ts'
import { zh } from '../src/sentences/zh.ts'

const source = ['lib', 'pages', 'parts', '.']
  .flatMap((folder) => readdirSync(new URL('../src/' + folder, import.meta.url), { withFileTypes: true }).map((file) => [folder, file] as const))
  .filter(([, file]) => file.isFile() && /\.(ts|svelte)$/.test(file.name) && file.name !== 'schema.d.ts')
  .map(([folder, file]) => readFileSync(new URL(`../src/${folder}/${file.name}`, import.meta.url), 'utf8'))
  .join('\n')

test('every sentence is said somewhere', () => {
  const silent = Object.keys(en).filter((name) => !new RegExp(`\\bt\\.${name}\\b|'${name}'`).test(source))
  expect(silent).toEqual([])
})

test('both languages have a sentence where the other has one', () => {
  const shape = (of: object): unknown => Object.fromEntries(Object.entries(of).map(([name, value]) => [name, value && typeof value === 'object' && !Array.isArray(value) ? shape(value) : typeof value]))
  // Of problems the gateway has English titles of its own.
  expect(shape({ ...zh, problem: {} })).toEqual(shape({ ...en, problem: {} }))
  expect(Object.keys(zh.problem)).toEqual(expect.arrayContaining(Object.keys(en.problem)))
})

test('numbers are grouped', () => {
  for (const t of [en, zh]) {
    const said = [t.chartOnline(1234567, 1234567, ''), t.omitted(1234567), t.cancelAll(1234567), t.webhookBehind(1234567, ''), t.webhookRetries(1234567), t.redelivered(1234567), t.percent(1234567, 1234567)]
    for (const each of said) expect(each).toMatch(/^(?!.*\d{4}).*1,234,567/)
  }
})

test('numbers have groups of three in both languages, or in none', () => {
  const many = 1_234_567
  const groups = (of: Record<string, unknown>): Record<string, number> =>
    Object.fromEntries(
      Object.entries(of)
        .filter((each): each is [string, (...args: number[]) => string] => typeof each[1] === 'function')
        .map(([name, say]) => [name, say(many, many, many).split('1,234,567').length - 1]),
    )
  expect(groups(zh)).toEqual(groups(en))
})

const facts = (sentence: string): string[] => Array.from(sentence.matchAll(/\[([^\]]*)\]|\{(\w+)\}/g), ([, part, name]) => (part === undefined ? name! : Array.from(part.matchAll(/\{(\w+)\}/g), (each) => each[1] + '?'))).flat().sort()

test('a sentence has the same facts in both languages, and the same ones may be missing', () => {
  const of = (t: typeof en) => [t.messageWhy, t.clientWhy, t.finding, t.mark].map((each) => Object.entries(each).map(([code, sentence]) => [code, ...facts(sentence)]))
  expect(of(zh)).toEqual(of(en))
})

test('a sentence has no gap where the gateway gives no fact', () => {
  const plain = { language: 'en', zone: 'utc', now: 0, word: (code: string) => code } as const
  for (const t of [en, zh]) {
    const said = [
      fill(t.messageWhy.sent_not_acked, { client: 'd' }, plain), // the time is not kept
      fill(t.messageWhy.resent_not_acked, { client: 'd', attempts: 2 }, plain),
      fill(t.messageWhy.expired_retry_later, { client: 'd' }, plain),
      fill(t.clientWhy.closed_by_gateway, {}, plain), // the store knows no reason
      fill(t.finding.registrations_invalid, { count: 2 }, plain),
    ]
    for (const each of said) expect(each).not.toContain('–')
  }
})

test('a code that is a fact is said in words', () => {
  for (const code of ['uplinks_full', 'events_full', 'gone', 'no_success']) expect(voice().word(code, 'reason')).not.toBe(code)
  expect(fill('{status}', { status: 'expired' }, voice())).toBe('expired') // the reason is another
})
