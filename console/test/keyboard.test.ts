import { expect, test } from 'vitest'
import { Sequence, submits } from '../src/lib/keyboard.ts'

test('keys of two letters', () => {
  const keys = new Sequence()
  expect(keys.take('g', 0)).toBe('')
  expect(keys.take('c', 500)).toBe('g c')
  expect(keys.take('c', 600)).toBe('c')
  keys.take('g', 1000)
  expect(keys.take('c', 3000)).toBe('c') // too late
})

test('Enter that takes a candidate of an input method sends nothing', () => {
  const key = (over: object) => ({ key: 'Enter', isComposing: false, keyCode: 13, ...over }) as KeyboardEvent
  expect(submits(key({}))).toBe(true)
  expect(submits(key({ isComposing: true }))).toBe(false)
  expect(submits(key({ keyCode: 229 }))).toBe(false)
})
