import { expect, test } from 'vitest'
import { difference, observe } from '../src/lib/clock.ts'

test('an answer that took long moves no clock by its own time', () => {
  const at = 1_800_000_000_000
  observe(at, at, at + 40)
  expect(difference()).toBe(0)
  observe(at + 20_000, at + 1000, at + 21_000) // 20 s under way, dated at its end
  expect(difference()).toBe(0)
  observe(at + 90_000, at + 30_000, at + 30_040) // a reader who is a minute late
  expect(difference()).toBeCloseTo(-60_000, -3)
})
