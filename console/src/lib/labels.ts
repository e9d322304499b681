// Changes of a client's labels and groups: what is sent, and what undoes it.

import type { components } from './schema.d.ts'

export type Patch = components['schemas']['ClientPatch']
export interface Marks {
  labels: Record<string, string>
  groups: string[]
}

/** The patch that turns one into the other, or null when they are the same. A label that is gone is null. */
export function patchOf(from: Marks, to: Marks): Patch | null {
  // A label may be called constructor or __proto__.
  const set: [string, string | null][] = Object.entries(to.labels).filter(([name, value]) => !Object.hasOwn(from.labels, name) || from.labels[name] !== value)
  const gone = Object.keys(from.labels).filter((name) => !Object.hasOwn(to.labels, name))
  const labels = Object.fromEntries([...set, ...gone.map((name): [string, null] => [name, null])])
  const sorted = (groups: string[]) => [...new Set(groups)].sort()
  const same = JSON.stringify(sorted(from.groups)) === JSON.stringify(sorted(to.groups))
  if (same && !Object.keys(labels).length) return null
  return { ...(Object.keys(labels).length ? { labels: labels as Record<string, string> } : {}), ...(same ? {} : { groups: sorted(to.groups) }) }
}

/** The labels of the rows of a form; rows without a name count for nothing, of two with one name the later. */
export function labelsOf(rows: readonly { name: string; value: string }[]): Record<string, string> {
  return Object.fromEntries(rows.filter((row) => row.name.trim()).map((row) => [row.name.trim(), row.value]))
}
