// Package batches turns batches into bytes and back: what a vehicle measured, on its way to the cloud.
//
// A batch holds rows of raw signal values, column by column; what the columns
// mean is in a schema document (protocol/schemas), which is known by its SHA-256 and never
// changes. Everything that is read is bounded and read strictly: no indefinite lengths,
// no bytes left over, and no more memory than a small multiple of what the
// limits in limits.go allow.
//
// A batch on the wire is
//
//	payload = batch / one zstd frame of it (RFC 8878), whichever is shorter
//	batch = [
//	  1 / 2,                              ; layout version
//	  schema: bstr .size 8,               ; start of the schema document's SHA-256
//	  did: tstr, boot: bstr .size 8, seq: uint,
//	  ? {* uint => int / bstr / tstr},    ; version 2: extensions, see extension.go
//	  ? evicted: [+ [boot, from, to]],    ; sequences that the vehicle's buffer had to drop
//	  t0: int,                            ; in units of the schema's tick since the Unix epoch
//	  [* group],
//	  ? (null, drops: uint)               ; frames lost on the bus; null keeps the place of a trigger
//	]
//	group = [gid: uint, n: uint, time: col, * col]
//	col = int / null / bstr               ; the same value in each row / no value at all / coded, see column.go
//
// A trigger and trouble codes have their places in a batch, and are refused
// until they mean something.
//
// The package knows no topics, queues or files, asks no clock and starts no
// goroutine. How frames become raw values is the business of protocol/dbc.
package batches
