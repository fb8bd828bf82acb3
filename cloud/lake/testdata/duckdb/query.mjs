// Runs a query with DuckDB and writes each row as a line of JSON to standard output.
//
//   node query.mjs QUERY
import { DuckDBInstance } from '@duckdb/node-api'

const connection = await (await DuckDBInstance.create(':memory:')).connect()
const rows = await connection.runAndReadAll(process.argv[2])
for (const row of rows.getRowsJson()) console.log(JSON.stringify(row))
