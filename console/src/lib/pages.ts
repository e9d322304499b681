// A window over a list of any length. It keeps the pages near the reader and only the
// cursors of the others; the list has no total.

import { asFailure, type Call } from './call.ts'

export interface ListPage<T> {
  items: T[]
  /** The cursor of the next page; absent at the end. */
  next_cursor?: string
  /** The cursor of the page before; absent at the beginning. */
  prev_cursor?: string
}

/** A row of a list; gone when the gateway has it no more. It stays, so that no other row moves. */
export type Row<T> = T & { gone?: boolean }

const kept = 10 // pages, and the first: read again, a list of the newest would begin with other rows, and those between would be missing

interface Slot<T> {
  cursor: string // that loads it
  start: number // index of its first row
  count: number
  items: T[] | null // null when it was let go
}

/** Loads pages at cursors, forwards, and again when a page that was let go is wanted. */
export class Window<T> {
  #slots: Slot<T>[] = []
  #next: string | null = ''
  #earlier: string | null = null
  #loading: Promise<void> | null = null
  #load: (cursor: string, signal?: AbortSignal) => Promise<ListPage<T>>

  constructor(load: (cursor: string, signal?: AbortSignal) => Promise<ListPage<T>>) {
    this.#load = load
  }

  /** How many rows are known. */
  get length(): number {
    const last = this.#slots.at(-1)
    return last ? last.start + last.count : 0
  }

  /** Whether the list goes on behind what is known. */
  get more(): boolean {
    return this.#next !== null
  }

  /** Whether the list has rows before its first one here: it was begun further down. */
  get earlier(): boolean {
    return this.#earlier !== null
  }

  /** The row at an index, or undefined while its page is not here. */
  at(index: number): T | undefined {
    const slot = this.#slotOf(index)
    return slot?.items?.[index - slot.start]
  }

  /**
   * Brings the rows from first to last, as far as the list has them. A short page with
   * a cursor is normal, so it reads on. Returns whether anything came.
   */
  async want(first: number, last: number): Promise<boolean> {
    if (this.#loading) {
      await this.#loading.catch(() => {})
      return this.want(first, last)
    }
    let came = false
    const run = async () => {
      for (const slot of this.#slots) {
        if (slot.items || slot.start > last || slot.start + slot.count <= first) continue
        const items: T[] = []
        for (let cursor: string | undefined = slot.cursor; cursor !== undefined && items.length < slot.count; ) {
          const page: ListPage<T> = await this.#load(cursor)
          items.push(...page.items)
          cursor = page.next_cursor
        }
        // Rows may have come or gone meanwhile: the slot keeps its size, so that no other row moves.
        slot.items = items.slice(0, slot.count)
        came = true
      }
      for (let empty = 0; this.#next !== null && this.length <= last && empty < 20; ) {
        const cursor = this.#next
        const page = await this.#load(cursor)
        this.#next = page.next_cursor ?? null
        if (!this.#slots.length && page.items.length) this.#earlier = page.prev_cursor ?? null
        if (page.items.length) {
          this.#slots.push({ cursor, start: this.length, count: page.items.length, items: page.items })
          came = true
        } else empty++
      }
      this.#trim(first, last)
    }
    this.#loading = run()
    try {
      await this.#loading
    } finally {
      this.#loading = null
    }
    return came
  }

  /** Brings the page before the first row. Every index grows by the number that it returns. */
  async before(): Promise<number> {
    if (this.#loading) {
      await this.#loading.catch(() => {})
      return this.before()
    }
    const cursor = this.#earlier
    if (cursor === null) return 0
    let count = 0
    const run = async () => {
      const page = await this.#load(cursor)
      this.#earlier = page.prev_cursor ?? null
      count = page.items.length
      for (const slot of this.#slots) slot.start += count
      if (count) this.#slots.unshift({ cursor, start: 0, count, items: page.items })
    }
    this.#loading = run()
    try {
      await this.#loading
    } finally {
      this.#loading = null
    }
    return count
  }

  /**
   * Asks again for the pages of the rows from first to last, and changes their rows in place.
   * key tells one from another. find asks for a row in sight that its page has no more.
   * begin is the first page, if the caller has just read it.
   */
  async refresh(first: number, last: number, { key, find, begin, signal }: { key: (item: T) => string; find: (item: T) => T | Promise<T>; begin?: ListPage<T>; signal?: AbortSignal }): Promise<void> {
    for (const slot of this.#slots.filter((each) => each.items && each.start <= last && each.start + each.count > first)) {
      const { items } = (!slot.cursor && begin) || (await this.#load(slot.cursor, signal))
      const fresh = new Map(items.map((each) => [key(each), each]))
      const lost = slot.items?.slice(Math.max(0, first - slot.start), last - slot.start + 1).filter((each) => !fresh.has(key(each))) ?? []
      for (const each of await Promise.all(lost.map(find))) fresh.set(key(each), each)
      slot.items &&= slot.items.map((each) => fresh.get(key(each)) ?? each)
    }
  }

  /** Changes rows in place, without moving any. */
  patch(change: (item: T) => T): void {
    for (const slot of this.#slots) if (slot.items) slot.items = slot.items.map(change)
  }

  #slotOf(index: number): Slot<T> | undefined {
    let low = 0
    let high = this.#slots.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const slot = this.#slots[middle]!
      if (index < slot.start) high = middle - 1
      else if (index >= slot.start + slot.count) low = middle + 1
      else return slot
    }
    return undefined
  }

  #trim(first: number, last: number): void {
    const here = this.#slots.filter((slot) => slot.items && slot.cursor)
    if (here.length <= kept) return
    const middle = (first + last) / 2
    const far = (slot: Slot<T>) => Math.abs(slot.start + slot.count / 2 - middle)
    here.sort((a, b) => far(b) - far(a))
    for (const slot of here.slice(0, here.length - kept)) slot.items = null
  }
}

/** The row as the gateway has it now. */
export async function current<T extends object>(row: Row<T>, answer: Promise<T>): Promise<Row<T>> {
  try {
    return await answer
  } catch (error) {
    if (asFailure(error).status !== 404) throw error
    return { ...row, gone: true }
  }
}

/** The call of one page of a list. */
export function pageCall(list: Call, cursor: string, limit: number): Call {
  return { ...list, query: { ...list.query, limit, cursor: cursor || undefined } }
}
