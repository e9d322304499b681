import { states, type State } from './states.ts'
import type { components } from './schema.d.ts'

export type Message = components['schemas']['Message']
export type Counts = components['schemas']['Counts']

/** Whether nothing that happens changes the message, or the delivery, any more. */
export function isFinal(message: { status: string }): boolean {
  return !['queued', 'sent', 'pending'].includes(message.status)
}

/** The part of each state in a message to many, in the order of bars. */
export function shares(counts: Counts): { state: State; count: number }[] {
  return states.map((state) => ({ state, count: counts[state] ?? 0 })).filter((each) => each.count > 0)
}

/** How many deliveries of a message to many have their final state. */
export function settled(counts: Counts): number {
  return counts.total - counts.queued - counts.sent
}

/** What a list shows of a payload: its first characters on one line. */
export function preview(message: { preview?: string; text?: string; json?: unknown; base64?: string; payload_bytes?: number }): string {
  if (message.preview !== undefined) return message.preview
  if (message.text !== undefined) return message.text.slice(0, 64)
  if (message.json !== undefined) return JSON.stringify(message.json).slice(0, 64)
  if (message.base64 !== undefined) return 'base64 ' + message.base64.slice(0, 56)
  return message.payload_bytes === undefined ? '' : message.payload_bytes + ' B'
}
