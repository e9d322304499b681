import { expect, test } from 'vitest'
import { find, href, parse } from '../src/lib/route.ts'

test('a route there and back', () => {
  for (const [page, id, query] of [
    ['clients', 'a/b?c#d', {}],
    ['clients', '', { prefix: 'a&b=c', status: 'online' }],
    ['messages', 'msg_1', { status: 'sent' }],
    ['clients', '锁 1', {}],
  ] as const) {
    expect(parse(href(page, id, query))).toEqual({ page, id, query })
  }
  expect(parse('')).toEqual({ page: 'overview', id: '', query: {} })
  expect(parse('#/clients/%')).toEqual({ page: 'clients', id: '%', query: {} })
})

test('the kind of what is pasted', () => {
  expect(find(' truck-17 ')).toBe('#/clients/truck-17')
  expect(find('truck-*')).toBe('#/clients?prefix=truck-')
  expect(find('msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11')).toBe('#/messages/msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11')
  expect(find('site=north')).toBe('#/clients?label=site%3Dnorth')
})
