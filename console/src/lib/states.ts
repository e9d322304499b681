// The states of deliveries and of presence, in the order in which bars show them. A
// state is a glyph, a colour and a word; green and filled is what the device said.

export const states = ['queued', 'sent', 'acked', 'rejected', 'expired', 'canceled', 'failed'] as const
export type State = (typeof states)[number]

/** The state whose glyph and colour stand for a status of the API. */
export function stateOf(status: string): State {
  if (status === 'pending') return 'queued'
  if (status === 'unknown') return 'failed'
  if (status === 'replaced') return 'canceled'
  return (states as readonly string[]).includes(status) ? (status as State) : 'queued'
}

export const presences = ['online', 'suspect', 'offline'] as const
export type Presence = (typeof presences)[number]
