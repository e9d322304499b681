// Single-letter keys. They do nothing in fields, while a text is being composed, and
// with a modifier held.

/** Whether a key event belongs to the page and not to a field or an input method. */
export function ours(event: KeyboardEvent): boolean {
  if (event.isComposing || event.keyCode === 229) return false
  if (event.ctrlKey || event.metaKey || event.altKey) return false
  const at = event.target
  if (!(at instanceof HTMLElement)) return true
  return !at.isContentEditable && !/^(input|textarea|select)$/i.test(at.tagName)
}

/** Whether Enter ends the text: not when it only takes a candidate of an input method. */
export function submits(event: KeyboardEvent): boolean {
  return event.key === 'Enter' && !event.isComposing && event.keyCode !== 229
}

/** Reads keys of one and of two letters ("g c"). Returns the key that was completed, or empty. */
export class Sequence {
  #first = ''
  #at = 0

  take(key: string, now = Date.now()): string {
    const first = now - this.#at < 1200 ? this.#first : ''
    this.#first = ''
    if (first) return first + ' ' + key
    if (key === 'g') {
      this.#first = key
      this.#at = now
      return ''
    }
    return key
  }
}
