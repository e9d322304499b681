// Prints what a browser loads, gzipped, and fails beyond the budgets.
import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const kB = 1000
const packed = (name) => gzipSync(readFileSync(new URL('dist/' + name, import.meta.url)), { level: 9 }).length
const assets = readdirSync(new URL('dist/assets', import.meta.url))
const sum = (end) => assets.filter((name) => name.endsWith(end)).reduce((total, name) => total + packed('assets/' + name), 0)

// The first page: what index.html names, and the modules of the overview, whose names the entry lists.
const html = readFileSync(new URL('dist/index.html', import.meta.url), 'utf8')
const first = new Set(Array.from(html.matchAll(/assets\/([\w.-]+)/g), (match) => match[1]))
const overview = assets.find((name) => /^Overview-.*\.js$/.test(name))
for (const queue = [overview]; queue.length; ) {
  const name = queue.pop()
  if (!name || first.has(name)) continue
  first.add(name)
  for (const [, imported] of readFileSync(new URL('dist/assets/' + name, import.meta.url), 'utf8').matchAll(/from"\.\/([\w.-]+\.js)"|import"\.\/([\w.-]+\.js)"/g)) queue.push(imported)
}
const rows = [
  ['first page', packed('index.html') + [...first].reduce((total, name) => total + packed('assets/' + name), 0), 52],
  ['all script', sum('.js'), 105],
  ['all styles', sum('.css'), 15],
]
let over = false
for (const [what, size, most] of rows) {
  console.log(`${what.padEnd(12)} ${(size / kB).toFixed(1).padStart(6)} kB gzipped, at most ${most}`)
  over ||= size > most * kB
}
process.exit(over ? 1 : 0)
