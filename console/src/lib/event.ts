import type { Presence, State } from './states.ts'
import type { components } from './schema.d.ts'

type Schemas = components['schemas']

/** An event of the stream, as the console reads it. */
export interface Line {
  id: string
  type: string
  time?: string
  sequence?: string
  data?: {
    client?: string
    message_id?: string
    reason?: string
    result?: string
    uplink?: Schemas['Uplink']
    group?: string
  }
}

export interface EventParts {
  /** None for what a device sends by itself: an arrow stands for it, as on the timeline. */
  glyph: State | Presence | undefined
  client?: string | undefined
  message?: string | undefined
  /** A code: voice().word says it. */
  reason?: string | undefined
  text?: string | undefined
}

const glyphs: Record<string, State | Presence> = {
  'client.connected': 'online',
  'client.disconnected': 'offline',
  'client.replaced': 'online',
  'client.forgotten': 'canceled',
  'message.acked': 'acked',
  'message.completed': 'acked',
  'message.late_ack': 'acked',
  'message.rejected': 'rejected',
  'message.expired': 'expired',
  'message.canceled': 'canceled',
  'message.failed': 'failed',
  'message.queued_for_absent': 'queued',
  'webhook.disabled': 'failed',
  'store.repaired': 'failed',
}

/** What a line shows of an event. */
export function eventLine(line: Line): EventParts {
  const data = line.data ?? {}
  return {
    // Green and filled is what the device said; a message to many that completed is not one device's word.
    glyph: line.type === 'message.completed' ? 'queued' : line.type === 'message.received' ? undefined : (glyphs[line.type] ?? 'canceled'),
    client: data.client,
    message: data.message_id,
    reason: data.reason,
    text: data.result ?? data.uplink?.text ?? (data.uplink?.base64 !== undefined ? 'base64 ' + data.uplink.base64 : data.group),
  }
}
