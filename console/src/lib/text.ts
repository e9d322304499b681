// Text from outside: ids, payloads, labels. It is shown as it is, and what cannot be
// seen, or would change how its neighbours are seen, becomes a visible token.

/** One run of text: shown as it is, or as a token that names what cannot be seen. */
export interface Run {
  text: string
  token: boolean
}

const names: Record<number, string> = {
  0x09: 'TAB',
  0x0a: 'LF',
  0x0d: 'CR',
  0x1b: 'ESC',
  0x7f: 'DEL',
  0xa0: 'NBSP',
  0xad: 'SHY',
  0x200b: 'ZWSP',
  0x200c: 'ZWNJ',
  0x200d: 'ZWJ',
  0x2060: 'WJ',
  0xfeff: 'BOM',
}

// Controls, separators of lines, format characters (among them all that turn the
// direction of text), lone surrogates, private use.
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\u2028\u2029\u00a0]/u

/** Splits text into runs. Line feeds stay when lines is true. */
export function runs(text: string, lines = false): Run[] {
  const out: Run[] = []
  let plain = ''
  for (const char of text) {
    if (!unseen.test(char) || (lines && char === '\n')) {
      plain += char
      continue
    }
    if (plain) out.push({ text: plain, token: false })
    plain = ''
    const code = char.codePointAt(0) ?? 0
    out.push({ text: names[code] ?? 'U+' + code.toString(16).toUpperCase().padStart(4, '0'), token: true })
  }
  if (plain) out.push({ text: plain, token: false })
  return out
}

/** Shortens an id to max characters. Ids differ at their end, so the start goes. */
export function tail(id: string, max: number): string {
  return id.length <= max ? id : '…' + id.slice(id.length - max + 1)
}

/** Bytes as an offset, sixteen hexadecimal pairs and their printable characters a line. */
export function hexDump(bytes: Uint8Array, from = 0): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += 16) {
    const part = bytes.subarray(at, at + 16)
    const pairs = Array.from(part, (b) => b.toString(16).padStart(2, '0'))
    const seen = Array.from(part, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')).join('')
    const hex = pairs.slice(0, 8).join(' ') + '  ' + pairs.slice(8).join(' ')
    lines.push((from + at).toString(16).padStart(6, '0') + '  ' + hex.padEnd(49) + ' ' + seen)
  }
  return lines.join('\n')
}

/** The bytes of a hexadecimal text with optional white space; null when it is not one. */
export function parseHex(text: string): Uint8Array | null {
  const digits = text.replace(/\s+/g, '')
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16))
}

/** Bytes in base64, for payloads that are not text. */
export function base64(bytes: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000))
  return btoa(binary)
}

/** The bytes of base64; empty when it is damaged. */
export function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
  } catch {
    return new Uint8Array()
  }
}

/** The bytes as text, or null when they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/** The text of bytes, or of their beginning: a cut may split a character, and the replacement at its end is not theirs. */
export function words(bytes: Uint8Array, cut: boolean): string {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  return cut ? text.replace(/\ufffd+$/, '') : text
}

/** JSON, or the beginning of it, with a line for each part. Its letters stay as they are. */
export function lines(json: string): string {
  let out = ''
  let depth = 0
  let quoted = false
  const line = () => '\n' + '  '.repeat(Math.min(depth, 20))
  for (let at = 0; at < json.length; at++) {
    const char = json.charAt(at)
    if (quoted) {
      out += char === '\\' ? char + json.charAt(++at) : char
      quoted = char !== '"'
    } else if (char === '{' || char === '[') {
      depth++
      const end = json.charAt(at + 1)
      out += char + (end === '}' || end === ']' ? '' : line())
    } else if (char === '}' || char === ']') {
      depth--
      const start = json.charAt(at - 1)
      out += (start === '{' || start === '[' ? '' : line()) + char
    } else {
      out += char === ',' ? char + line() : char === ':' ? ': ' : char
      quoted = char === '"'
    }
  }
  return out
}
