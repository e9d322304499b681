import { Typed } from './call.ts'
import { base64, parseHex } from './text.ts'

export type Kind = 'text' | 'json' | 'hex'

export interface Body {
  /** The member of a push that holds the payload. */
  member: { text?: string; json?: Typed; base64?: string }
  /** Why the text is not a payload of its kind: "hex", or what the JSON parser says; empty when it is one. */
  error: string
}

/** The payload that a text stands for. */
export function bodyOf(kind: Kind, text: string): Body {
  if (kind === 'text') return { member: { text }, error: '' }
  if (kind === 'hex') {
    const bytes = parseHex(text)
    return bytes ? { member: { base64: base64(bytes) }, error: '' } : { member: {}, error: 'hex' }
  }
  try {
    JSON.parse(text)
    return { member: { json: new Typed(text) }, error: '' }
  } catch (error) {
    return { member: {}, error: error instanceof Error ? error.message : 'JSON' }
  }
}
