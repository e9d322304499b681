import { expect, test } from 'vitest'
import { cut, renew, type Page } from '../src/lib/audit.ts'

/** A log of a process: entries that are read 2 at a time. Counts the pages. */
function log(process: string, newest: number) {
  const it = { newest, reads: 0, read: async (after?: string): Promise<Page> => {
    it.reads++
    const from = after ? Number(after.split('-')[1]) - 1 : it.newest
    const items = Array.from({ length: Math.min(2, from) }, (_, i) => ({ id: `${process}-${from - i}`, at: '', what: '', result: 'ok' }))
    return { now: '', items, ...(from > 2 ? { next_after: items.at(-1)!.id } : {}) }
  } }
  return it
}

const ids = (page: Page) => page.items.map((each) => each.id)

test('a list that is shown costs one page, and goes on where it went on', async () => {
  const a = log('a', 9)
  const known = { ...(await a.read()), items: [...(await a.read()).items, ...(await a.read('a-8')).items], next_after: 'a-6' }
  a.newest = 10
  a.reads = 0
  const page = await renew(a.read, () => known)
  expect([ids(page), page.next_after, a.reads]).toEqual([['a-10', 'a-9', 'a-8', 'a-7', 'a-6'], 'a-6', 1])
})

test('more new entries than a page leave no gap', async () => {
  const a = log('a', 4)
  const known = { ...(await a.read()), items: [...(await a.read()).items, ...(await a.read('a-3')).items], next_after: undefined }
  a.newest = 7
  const page = await renew(a.read, () => known)
  expect([ids(page), page.next_after]).toEqual([['a-7', 'a-6', 'a-5', 'a-4', 'a-3', 'a-2', 'a-1'], undefined])
})

test('older entries that come while the newest are read stay', async () => {
  const a = log('a', 4)
  let known = await a.read()
  const page = await renew(async () => {
    const newest = await a.read()
    known = { ...known, items: [...known.items, ...(await a.read('a-3')).items], next_after: undefined }
    return newest
  }, () => known)
  expect(ids(page)).toEqual(['a-4', 'a-3', 'a-2', 'a-1'])
})

test('after a restart the ids are others, and as many entries are there', async () => {
  const known = { ...(await log('a', 9).read()), items: [...(await log('a', 9).read()).items, ...(await log('a', 9).read('a-8')).items] }
  const page = await renew(log('b', 9).read, () => known)
  expect([ids(page), page.next_after]).toEqual([['b-9', 'b-8', 'b-7', 'b-6'], 'b-6'])
  expect(ids(await renew(log('b', 1).read, () => known))).toEqual(['b-1'])
})

test('a list of other filters is not joined', async () => {
  expect(ids(await renew(log('a', 9).read, () => null))).toEqual(['a-9', 'a-8'])
})

test('a list does not grow without end', async () => {
  const page = await log('a', 9).read()
  expect(cut(page, 2)).toBe(page)
  const one = cut(page, 1)
  expect([ids(one), one.next_after]).toEqual([['a-9'], 'a-9'])
})
