import { expect, test } from 'vitest'
import { fromBase64, base64, hexDump, lines, parseHex, runs, tail, utf8, words } from '../src/lib/text.ts'

test('what cannot be seen becomes a token', () => {
  const show = (text: string, lines = false) =>
    runs(text, lines)
      .map((run) => (run.token ? `[${run.text}]` : run.text))
      .join('')
  expect(show('a\u202eb')).toBe('a[U+202E]b') // turns what follows
  expect(show('\u2066x\u2069')).toBe('[U+2066]x[U+2069]')
  expect(show('a\u200bb\u00ad\ufeff')).toBe('a[ZWSP]b[SHY][BOM]')
  expect(show('a\tb\u0000\u001b[31m')).toBe('a[TAB]b[U+0000][ESC][31m')
  expect(show('a\nb')).toBe('a[LF]b')
  expect(show('a\nb\r\n', true)).toBe('a\nb[CR]\n')
  expect(show('\ud800')).toBe('[U+D800]') // half of a pair
  expect(show('<b>锁 🔒</b>')).toBe('<b>锁 🔒</b>')
})

test('a long id loses its start', () => {
  expect(tail('meter-0000000000017', 8)).toBe('…0000017')
  expect(tail('short', 8)).toBe('short')
})

test('bytes as hex', () => {
  const lines = hexDump(Uint8Array.from({ length: 18 }, (_, i) => i + 0x40)).split('\n')
  expect(lines).toHaveLength(2)
  expect(lines[0]).toBe('000000  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO')
  expect(lines[1]).toMatch(/^000010 {2}50 51 +PQ$/)
})

test('hex as bytes', () => {
  expect(parseHex('00 ff\n7F')).toEqual(new Uint8Array([0, 255, 127]))
  expect(parseHex('0')).toBeNull()
  expect(parseHex('0g')).toBeNull()
  expect(parseHex('')).toEqual(new Uint8Array())
})

test('base64 there and back, for more than one call takes', () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251)
  expect(Buffer.from(fromBase64(base64(bytes))).equals(bytes)).toBe(true)
  expect(fromBase64('***')).toEqual(new Uint8Array())
  expect(utf8(new Uint8Array([0xff]))).toBeNull()
})

test('lines of JSON keep its letters', () => {
  for (const value of [{ a: [1, { b: {} }], c: [], '"{\\': '[:,' }, [], {}, 'a', 1, [[[]]]]) expect(lines(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2))
  expect(lines('{"n":9007199254740993,"z":-0,"e":"\\u0061"}')).toBe('{\n  "n": 9007199254740993,\n  "z": -0,\n  "e": "\\u0061"\n}')
  expect(lines('{"a":["b')).toBe('{\n  "a": [\n    "b') // the first part of a longer one
  expect(lines('['.repeat(5000)).length).toBeLessThan(300_000)
})

test('a mark of the byte order is seen, and a cut character is not', () => {
  const bytes = new TextEncoder().encode('\ufeffa锁')
  expect(words(bytes, false)).toBe('\ufeffa锁')
  expect(words(bytes.subarray(0, -1), true)).toBe('\ufeffa')
})
