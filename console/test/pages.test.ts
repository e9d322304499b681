import { expect, test } from 'vitest'
import { anchor } from '../src/lib/anchor.ts'
import { Window } from '../src/lib/pages.ts'

const million = 1_000_000

/** A list of numbers behind cursors; each third page is short although the list goes on. */
function list(total = million) {
  let loads = 0
  const window = new Window<number>(async (cursor) => {
    loads++
    const from = Number(cursor || 0)
    const size = loads % 3 ? 200 : 50
    const items = Array.from({ length: Math.max(0, Math.min(size, total - from)) }, (_, i) => from + i)
    return from + items.length < total ? { items, next_cursor: String(from + items.length) } : { items }
  })
  return { window, loads: () => loads }
}

test('each row is the right one over a long way down and back', async () => {
  const { window } = list()
  for (let at = 0; at < 100_000; at += 150) {
    await window.want(at, at + 40)
    for (let i = at; i <= at + 40; i++) expect(window.at(i)).toBe(i)
  }
  for (let at = 90_000; at >= 0; at -= 1130) {
    await window.want(at, at + 40)
    for (let i = at; i <= at + 40; i++) expect(window.at(i)).toBe(i)
  }
})

test('a window keeps a few pages only', async () => {
  const { window } = list()
  for (let at = 0; at < 50_000; at += 150) await window.want(at, at + 40)
  let held = 0
  for (let i = 0; i < window.length; i++) if (window.at(i) !== undefined) held++
  expect(held).toBeLessThanOrEqual(11 * 200) // with the first
})

test('the end of the list, and an empty one', async () => {
  const { window } = list(130)
  await window.want(0, 1000)
  expect(window.length).toBe(130)
  expect(window.more).toBe(false)
  const nothing = new Window<number>(async () => ({ items: [] }))
  expect(await nothing.want(0, 50)).toBe(false)
  expect(nothing.more).toBe(false)
})

test('two wishes at once load each page once', async () => {
  const { window, loads } = list()
  await Promise.all([window.want(0, 100), window.want(0, 100)])
  expect(loads()).toBe(1)
})

test('a failed page is asked for again', async () => {
  let fail = true
  const window = new Window<number>(async () => {
    if (fail) throw new Error('away')
    return { items: [1] }
  })
  await expect(window.want(0, 1)).rejects.toThrow('away')
  fail = false
  expect(await window.want(0, 1)).toBe(true)
})

test('the height is bounded, and the row under the pointer stays', () => {
  let base = 0
  let top = 0
  let tallest = 0
  for (let first = 0; first < million; first += 500) {
    top = (first - base) * 32
    const moved = anchor(base, top, 32, Math.min(million, first + 1000))
    base = moved.base
    top = moved.top
    expect(base + top / 32).toBe(first)
    tallest = Math.max(tallest, (first + 1000 - base) * 44)
  }
  expect(tallest).toBeLessThan(17_000_000)
  for (let first = million - 500; first >= 0; first -= 500) {
    const moved = anchor(base, (first - base) * 32, 32, million)
    base = moved.base
    top = moved.top
    expect(base + top / 32).toBe(first)
    expect(top).toBeGreaterThanOrEqual(0)
  }
  expect(base).toBe(0)
})

test('a list that is begun in its middle goes back to its beginning', async () => {
  const page = (from: number, to: number) => ({
    items: Array.from({ length: to - from }, (_, i) => from + i),
    ...(to < 1000 ? { next_cursor: 'n' + to } : {}),
    ...(from > 0 ? { prev_cursor: 'p' + from } : {}),
  })
  const window = new Window<number>(async (cursor) => {
    const at = Number(cursor.slice(1))
    if (cursor.startsWith('p')) return page(Math.max(0, at - 200), at)
    return page(cursor ? at : 500, Math.min(1000, (cursor ? at : 500) + 200))
  })
  await window.want(0, 40)
  expect([window.at(0), window.earlier]).toEqual([500, true])
  expect(await window.before()).toBe(200)
  expect([window.at(0), window.at(200)]).toEqual([300, 500])
  await window.before()
  expect(await window.before()).toBe(100)
  expect(window.earlier).toBe(false)
  expect(await window.before()).toBe(0)
  await window.want(900, 1000)
  expect(window.length).toBe(1000)
  for (let i = 0; i < window.length; i++) expect(window.at(i)).toBe(i)
})

test('a list of the newest keeps its beginning: what came since is not put between its rows', async () => {
  let newest = 100_000
  const window = new Window<number>(async (cursor) => {
    const from = cursor ? Number(cursor) : newest
    return { items: Array.from({ length: 100 }, (_, i) => from - i), next_cursor: String(from - 100) }
  })
  for (let at = 0; at < 3000; at += 50) await window.want(at, at + 40)
  expect(window.at(0)).toBe(100_000) // it is compared with what is new
  newest += 500
  await window.want(0, 240)
  for (let i = 0; i <= 240; i++) expect(window.at(i)).toBe(100_000 - i)
})

test('rows in sight change in place, wherever they are', async () => {
  let state = 'queued'
  let loads = 0
  const window = new Window<{ id: number; state: string }>(async (cursor) => {
    loads++
    const from = Number(cursor || 0)
    const items = Array.from({ length: 100 }, (_, i) => ({ id: from + i, state }))
    return { items: state === 'acked' ? items.filter((each) => each.id !== 250) : items, next_cursor: String(from + 100) }
  })
  await window.want(0, 399)
  state = 'acked'
  loads = 0
  const asked: number[] = []
  const find = (each: { id: number; state: string }) => (asked.push(each.id), Promise.resolve({ ...each, state: 'expired' }))
  await window.refresh(240, 260, { key: (each) => String(each.id), find })
  expect([loads, asked]).toEqual([1, [250]])
  expect([199, 200, 250, 299, 300].map((at) => window.at(at))).toEqual([
    { id: 199, state: 'queued' },
    { id: 200, state: 'acked' },
    { id: 250, state: 'expired' }, // its page has it no more: it moves no other row
    { id: 299, state: 'acked' },
    { id: 300, state: 'queued' },
  ])
})

test('a first page that was just read is not asked for again', async () => {
  let loads = 0
  const window = new Window<number>(async (cursor) => {
    loads++
    return cursor ? { items: [4, 5, 6] } : { items: [1, 2, 3], next_cursor: '4' }
  })
  await window.want(0, 5)
  loads = 0
  const lost: number[] = []
  await window.refresh(1, 5, { key: String, find: (each) => (lost.push(each), each), begin: { items: [0, 1, 2] } })
  expect([loads, lost]).toEqual([1, [3]])
  await window.refresh(0, 1, { key: String, find: (each) => (lost.push(each), each), begin: { items: [0] } })
  expect(lost).toEqual([3, 1, 2]) // only those in sight
})
