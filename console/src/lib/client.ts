import { now } from './clock.ts'
import { utc } from './format.ts'
import type { components } from './schema.d.ts'

type Client = components['schemas']['ClientInfo']

/** Since when the client is what it is. */
export function sinceOf(client: Client): string | undefined {
  return client.online ? client.connected_at : client.last_seen_at
}

/** A report on a client for a ticket: plain text, times in UTC. */
export function report(client: Client, why: components['schemas']['ClientWhy'] | null, messages: { id: string; status: string; created_at: string; reason?: string }[]): string {
  const lines = [
    `Longwire client ${client.id}`,
    `${utc(now())}: ${why?.sentence ?? client.presence}`,
    `last seen ${client.last_seen_at ?? 'never'}; queued ${client.queued}; in flight ${client.in_flight}`,
  ]
  if (client.remote_addr) lines.push(`from ${client.remote_addr}, ${client.dialect ?? ''} over ${client.transport ?? 'tcp'}`)
  if (client.last_close) lines.push(`last close: ${client.last_close.by}, ${client.last_close.reason}`)
  for (const each of messages.slice(0, 12)) lines.push(`${each.created_at} ${each.id} ${each.status}${each.reason ? ' (' + each.reason + ')' : ''}`)
  return lines.join('\n')
}
