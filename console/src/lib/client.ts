import type { Presence } from './states.ts'
import type { components } from './schema.d.ts'

type Client = components['schemas']['ClientInfo']

/** The presence of a client: online only when the gateway has heard it. */
export function presenceOf(client: Client): Presence {
  if (client.suspect) return 'suspect'
  return client.online ? 'online' : 'offline'
}

/** Since when the client is what it is. */
export function sinceOf(client: Client): string | undefined {
  return client.online ? client.connected_at : client.last_seen_at
}
