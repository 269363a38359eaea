// Keeps the first download small: JS and CSS that index.html names, gzipped, must fit the budget of 200 KB.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const BUDGET_KB = 200
const build = join(dirname(fileURLToPath(import.meta.url)), '../src/gateway/static')
const page = readFileSync(join(build, 'index.html'), 'utf8')
const files = [...page.matchAll(/(?:src|href)="\.\/(assets\/[^"]+\.(?:js|css))"/g)].map((found) => found[1])
if (files.length === 0) {
  console.error('No assets are named in static/index.html. Run `npm run build` first.')
  process.exit(1)
}
let total = 0
for (const file of files) {
  const size = gzipSync(readFileSync(join(build, file)), { level: 9 }).length / 1024
  total += size
  console.log(`${size.toFixed(1).padStart(7)} KB  ${file}`)
}
console.log(`${total.toFixed(1).padStart(7)} KB  in all, budget ${BUDGET_KB} KB`)
if (total > BUDGET_KB) {
  console.error('The first download is over its budget. Load the new part lazily with import().')
  process.exit(1)
}
