import { expect, test } from 'vitest'
import { labelsOf, patchOf } from '../src/lib/labels.ts'

test('a patch has what changes, and its opposite undoes it', () => {
  const before = { labels: { site: 'north', door: '1', odd: 'a=b, c\n' }, groups: ['b', 'a'] }
  const after = { labels: { site: 'south', odd: 'a=b, c\n', new: '' }, groups: ['c', 'a', 'c'] }
  expect(patchOf(before, after)).toEqual({ labels: { site: 'south', new: '', door: null }, groups: ['a', 'c'] })
  expect(patchOf(after, before)).toEqual({ labels: { site: 'north', door: '1', new: null }, groups: ['a', 'b'] })
  expect(patchOf(before, { ...before, groups: ['a', 'b'] })).toBeNull()
  expect(patchOf(before, { ...before, groups: [] })).toEqual({ groups: [] })
})

test('labels with the names of members of every object are labels', () => {
  const before = { labels: JSON.parse('{"constructor":"1","__proto__":"2"}'), groups: [] }
  expect(JSON.stringify(patchOf(before, { labels: {}, groups: [] }))).toBe('{"labels":{"constructor":null,"__proto__":null}}')
  expect(JSON.stringify(patchOf({ labels: {}, groups: [] }, before))).toBe('{"labels":{"constructor":"1","__proto__":"2"}}')
  expect(patchOf(before, before)).toBeNull()
})

test('rows of a form are labels', () => {
  expect(labelsOf([{ name: ' site ', value: ' x ' }, { name: '', value: 'lost' }, { name: 'site', value: 'y' }])).toEqual({ site: 'y' })
})
