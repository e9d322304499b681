import type { Component } from 'svelte'

export interface Page {
  load: () => Promise<{ default: Component }>
  /** The scope without which the page has nothing to show. */
  scope?: string
  /** True when the page fills the window and scrolls within itself. */
  fixed?: boolean
}

/** The pages by their names in the route, in the order of the rail. */
export const pages: Record<string, Page> = {
  overview: { load: () => import('./Overview.svelte'), scope: 'metrics:read' },
  clients: { load: () => import('./ClientsPage.svelte'), scope: 'clients:read', fixed: true },
  messages: { load: () => import('./MessagesPage.svelte'), scope: 'messages:read', fixed: true },
  push: { load: () => import('./Push.svelte'), scope: 'messages:write' },
  uplinks: { load: () => import('./Uplinks.svelte'), scope: 'messages:read', fixed: true },
  events: { load: () => import('./Events.svelte'), scope: 'events:read', fixed: true },
  webhooks: { load: () => import('./WebhooksPage.svelte'), scope: 'webhooks:read' },
  refused: { load: () => import('./Refused.svelte'), scope: 'clients:read' },
  keys: { load: () => import('./Keys.svelte'), scope: 'admin' },
  audit: { load: () => import('./Audit.svelte'), scope: 'admin' },
}
