// Reads every part of a lake and writes one line a row to standard output, its
// columns separated by tabs: time in µs, then as the schema orders them. A null
// is \N, and a number that is none is NaN.
//
//   node read.mjs LAKE
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

const columns = ['time', 'vid', 'did', 'boot', 'seq', 'campaign', 'bus', 'message', 'signal', 'path', 'value', 'raw', 'text', 'unit', 'raw_bits', 'quality', 'purpose', 'time_quality', 'received']
const parsers = { timestampFromMicroseconds: micros => micros, timestampFromMilliseconds: fail, timestampFromNanoseconds: fail }

function fail() {
  throw new Error('expected times in µs')
}

function text(v) {
  return v === null || v === undefined ? '\\N' : String(v)
}

const lake = process.argv[2]
for (const date of readdirSync(lake).filter(n => n.startsWith('date=')).sort()) {
  for (const part of readdirSync(join(lake, date)).filter(n => n.startsWith('part-')).sort()) {
    const bytes = readFileSync(join(lake, date, part))
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    const names = parquetMetadata(file).schema.slice(1).map(e => e.name)
    if (names.join() !== columns.join()) throw new Error(`${date}/${part}: got columns ${names}, expected ${columns}`)
    const rows = await parquetReadObjects({ file, compressors, parsers, utf8: true })
    const lines = rows.map(r => columns.map(c => text(r[c])).join('\t') + '\n')
    for (let i = 0; i < lines.length; i += 10000) {
      if (!process.stdout.write(lines.slice(i, i + 10000).join(''))) {
        await new Promise(done => process.stdout.once('drain', done))
      }
    }
  }
}
