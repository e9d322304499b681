import { expect, test } from 'vitest'
import { curve, ticks } from '../src/lib/curve.ts'

test('an axis has few round values, and none of the curve is above it', () => {
  expect(ticks(0)).toEqual([0, 0.5])
  expect(ticks(1)).toEqual([0, 0.5, 1])
  expect(ticks(3)).toEqual([0, 1, 2, 3])
  expect(ticks(1_000_000)).toEqual([0, 500_000, 1_000_000])
  for (let high = 0.1; high < 1e9; high *= 1.37) {
    const axis = ticks(high)
    expect(axis.length, String(high)).toBeLessThanOrEqual(5)
    expect(axis.at(-1), String(high)).toBeGreaterThanOrEqual(high)
  }
})

test('a curve goes from the lower left to the upper right', () => {
  expect(curve([60, 70, 80], [0, 5, 10], 10)).toBe('M0 100L500 50L1000 0')
})

test('a missing value is a gap, and one between two gaps a dot', () => {
  expect(curve([0, 1, 2, 3, 4], [1, null, 1, null, 1], 1)).toBe('M0 0h0M500 0h0M1000 0h0')
  expect(curve([0, 1, 2, 3, 4], [null, 1, 1, null, null], 1)).toBe('M250 0L500 0')
  expect(curve([], [], 1)).toBe('')
  expect(curve([7], [2], 4)).toBe('M0 50h0')
})
