import { expect, test, vi } from 'vitest'
import { asking, difference, leave, observe, silence } from '../src/lib/clock.ts'

test('a slow answer does not say that the reader has another time', () => {
  const sent = Date.now()
  observe(sent + 29_000, sent, sent + 30_000) // the gateway answers at the end of the way
  expect(difference()).toBe(0)
  observe(sent + 1000, sent, sent + 30_000) // and at its beginning
  expect(difference()).toBe(0)
})

test('a clock that is off is told, also by a slow answer, and set right by a quick one', () => {
  const sent = Date.now()
  observe(sent + 120_000, sent, sent + 20_000)
  expect(difference()).toBe(-110_000)
  observe(sent + 115_000, sent, sent + 100)
  expect(difference()).toBe(-114_950)
  observe(sent, sent, sent + 100)
  expect(difference()).toBe(0)
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
