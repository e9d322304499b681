import { afterEach, expect, test, vi } from 'vitest'
import { Feed, type FeedState } from '../src/lib/feed.ts'

afterEach(() => vi.unstubAllGlobals())

test('a refusal that comes after the stop is nobody\'s', async () => {
  vi.stubGlobal('location', { origin: 'http://h', pathname: '/console/' })
  let refuse = (_: unknown) => {}
  const asked: AbortSignal[] = []
  vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
    asked.push(init.signal!)
    if (asked.length > 1) return new Response(new ReadableStream({}))
    return { ok: false, status: 403, headers: new Headers(), json: () => new Promise((done) => (refuse = done)) } as unknown as Response
  })
  const states: FeedState['at'][] = []
  const feed = new Feed<object>({ call: () => ({ path: '/v1/events' }), cursor: () => '', line: () => {}, state: (state) => states.push(state.at) })
  feed.start()
  await vi.waitFor(() => expect(asked).toHaveLength(1))
  feed.stop()
  feed.start()
  await vi.waitFor(() => expect(states.at(-1)).toBe('live'))
  refuse({})
  await new Promise((done) => setTimeout(done, 10))
  expect(states.at(-1)).toBe('live')
  feed.start() // it runs, so this begins no second one
  expect(asked).toHaveLength(2)
  feed.stop()
  expect(asked[1]!.aborted).toBe(true)
})
