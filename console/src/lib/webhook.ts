// A webhook as sentences: what it gets, and how it stands.

import type { components } from './schema.d.ts'

export type Webhook = components['schemas']['Webhook']

/** The filter as the words of a query: types, then the clients; empty for everything. */
export function filterOf(hook: Webhook): string {
  const clients = [
    hook.client && 'client=' + hook.client,
    hook.prefix && 'prefix=' + hook.prefix,
    hook.group && 'group=' + hook.group,
    ...Object.entries(hook.labels ?? {}).map(([name, value]) => `label=${name}=${value}`),
  ]
  return [...(hook.types ?? []), ...clients.filter(Boolean)].join(' ')
}

/** The glyph of how it stands. None is green: that a device alone can say. */
export function glyphOf(hook: Webhook): 'online' | 'suspect' | 'offline' | 'failed' | 'canceled' {
  if (hook.state === 'disabled' || hook.down) return 'failed'
  if (hook.state === 'paused') return 'canceled'
  if (hook.parked_clients) return 'suspect'
  return hook.last_success_at ? 'online' : 'offline'
}
