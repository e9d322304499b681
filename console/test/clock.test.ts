import { expect, test, vi } from 'vitest'
import { asking, difference, leave, observe, silence } from '../src/lib/clock.ts'

test('an answer that took long moves no clock by its own time', () => {
  const at = 1_800_000_000_000
  observe(at, at, at + 40)
  expect(difference()).toBe(0)
  observe(at + 20_000, at + 1000, at + 21_000) // 20 s under way, dated at its end
  expect(difference()).toBe(0)
  observe(at + 90_000, at + 30_000, at + 30_040) // a reader who is a minute late
  expect(difference()).toBeCloseTo(-60_000, -3)
})

test('the gateway is silent since the first question without an answer', () => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
  asking()
  vi.advanceTimersByTime(5000)
  asking()
  vi.advanceTimersByTime(5000)
  expect(silence()).toBe(10_000)
  observe(NaN, 0, 0) // an answer, though without a date
  expect(silence()).toBe(0)
  vi.advanceTimersByTime(60_000)
  expect(silence()).toBe(0) // it is not asked
  asking()
  vi.advanceTimersByTime(1000)
  leave()
  expect(silence()).toBe(0)
  vi.useRealTimers()
})
