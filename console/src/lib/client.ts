import type { Presence } from './states.ts'
import type { components } from './schema.d.ts'

type Client = components['schemas']['ClientInfo']

/** The presence of a client: suspect when it has not answered the last question. */
export function presenceOf(client: Client): Presence {
  return client.presence
}

/** Since when the client is what it is. */
export function sinceOf(client: Client): string | undefined {
  return client.online ? client.connected_at : client.last_seen_at
}
