import { expect, test } from 'vitest'
import { age, bytes, clockTime, compact, latency, number, utc, zoneName } from '../src/lib/format.ts'

test('ages, in the largest unit that has one', () => {
  expect([0, 999, 59_000, 60_000, 3_600_000, 86_400_000 * 3].map((ms) => age(ms, 'en'))).toEqual(['0 s', '0 s', '59 s', '1 min', '1 h', '3 d'])
  expect(age(180_000, 'zh')).toBe('3 分钟')
  expect(age(-5, 'en')).toBe('0 s') // a clock that is behind
})

test('times have one zone, and hours from 00 to 23', () => {
  const midnight = Date.UTC(2026, 10, 30)
  expect(clockTime(midnight, 'en', 'utc', midnight)).toBe('00:00:00')
  expect(clockTime(midnight, 'zh', 'utc', midnight + 86_400_000)).toBe('2026-11-30 00:00:00')
  expect(zoneName('en', 'utc', midnight)).toBe('UTC')
  expect(utc(midnight)).toBe('2026-11-30T00:00:00Z')
})

test('numbers', () => {
  expect(number(1234567, 'en')).toBe('1,234,567')
  expect(compact(12_000, 'zh')).toBe('1.2万')
  expect(compact(12_000, 'en')).toBe('12k')
  expect(bytes(1536, 'en')).toBe('1.5 KiB')
  expect(latency(0.42, 'en')).toBe('0.42 ms')
  expect(latency(3210, 'en')).toBe('3.21 s')
})
