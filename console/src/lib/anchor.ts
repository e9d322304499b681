// The height that a list takes is bounded: far down, its first row in the page is no
// longer the list's first. The rows under the reader's eyes stay where they are.

const most = 200_000 // rows in the page: 8.8 million pixels of the tallest row
const step = 100_000

/**
 * Where the page's first row should be after a scroll to top px, and the top that shows
 * the same rows then.
 */
export function anchor(base: number, top: number, height: number, length: number): { base: number; top: number } {
  const first = base + Math.floor(top / height)
  if (length - base > most && first - base > most - step / 2) return { base: base + step, top: top - step * height }
  if (base > 0 && first - base < step / 2) {
    const back = Math.min(base, step)
    return { base: base - back, top: top + back * height }
  }
  return { base, top }
}
