// The list of changes: the newest page is asked for again and again, and joined with what
// is there.

import type { components } from './schema.d.ts'

export type Page = Omit<components['schemas']['AuditPage'], 'next_after'> & { next_after?: string | undefined }

/**
 * Reads the newest entries and joins them with those that are known. Between both it reads on, so that none is
 * missing. The ids are of one process: after a restart, as many entries are read anew as were known.
 */
export async function renew(read: (after?: string) => Promise<Page>, known: () => Page | null): Promise<Page> {
  let page = await read()
  for (let items = page.items; ; items = [...items, ...page.items]) {
    const old = known()
    const at = items.findIndex((each) => each.id === old?.items[0]?.id)
    if (old && at >= 0) return { ...page, items: [...items.slice(0, at), ...old.items], next_after: old.next_after }
    if (!page.next_after || items.length >= (old?.items.length ?? 0)) return { ...page, items }
    page = await read(page.next_after)
  }
}

/** The page with no more than its newest entries. */
export function cut(page: Page, most: number): Page {
  const last = page.items[most - 1]
  return last && page.items.length > most ? { ...page, items: page.items.slice(0, most), next_after: last.id } : page
}
