// Draws curves with uPlot. It is a module of its own because it is a third of the first
// page: the numbers are there before it is.

import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Curves {
  /** Seconds since 1970, rising. */
  times: number[]
  /** colour is the name of a property of the style. */
  series: { name: string; values: (number | null)[]; colour: string }[]
  writeTime: (seconds: number) => string
  write: (value: number) => string
}

const height = 140

/** Draws into an element and follows its width. Returns what takes the drawing away. */
export function draw(element: HTMLElement, { times, series, writeTime, write }: Curves): () => void {
  const style = getComputedStyle(element)
  const colour = (name: string) => {
    // light-dark() is resolved on a property of a real element only.
    probe.style.color = `var(${name})`
    return getComputedStyle(probe).color
  }
  const probe = element.appendChild(document.createElement('span'))
  const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px ' + style.fontFamily }
  const chart = new uPlot(
    {
      width: element.clientWidth || 320,
      height,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, high ?? 1) * 1.05] } },
      axes: [
        { ...axis, space: 70, size: 28, values: (_, splits) => splits.map(writeTime) },
        { ...axis, size: 56, values: (_, splits) => splits.map(write) },
      ],
      series: [{}, ...series.map((each) => ({ label: each.name, stroke: colour(each.colour), width: 1.5, points: { show: false } }))],
    },
    [times, ...series.map((each) => each.values)],
    element,
  )
  probe.remove()
  const watch = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }))
  watch.observe(element)
  return () => {
    watch.disconnect()
    chart.destroy()
  }
}
