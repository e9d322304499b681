// Curves as paths of SVG, in a box of 1,000 by 100 that is stretched over the chart.

/** The values of an axis from 0 up: at most five, in steps of 1, 2 or 5 and their tenfolds. The last is at least high. */
export function ticks(high: number): number[] {
  const least = Math.max(high, 1) / 4
  const ten = 10 ** Math.floor(Math.log10(least))
  const step = ten * (least <= ten ? 1 : least <= 2 * ten ? 2 : least <= 5 * ten ? 5 : 10)
  const out = [0]
  while (out.at(-1)! < high || out.length < 2) out.push(out.length * step)
  return out
}

/** The curve of values over rising times. Where a value is missing it has a gap; a value between two gaps is a dot. */
export function curve(times: number[], values: (number | null)[], top: number): string {
  const first = times[0] ?? 0
  const span = (times.at(-1) ?? 0) - first || 1
  let out = ''
  values.forEach((value, at) => {
    if (value === null) return
    const begins = (values[at - 1] ?? null) === null
    const alone = begins && (values[at + 1] ?? null) === null
    const x = Math.round(((times[at]! - first) / span) * 10_000) / 10
    const y = Math.round((1 - value / top) * 1000) / 10
    out += `${begins ? 'M' : 'L'}${x} ${y}${alone ? 'h0' : ''}`
  })
  return out
}
