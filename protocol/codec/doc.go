// Package codec turns batches and their schemas into bytes and back.
//
// A batch holds rows of raw signal values, column by column; what the columns
// mean is in a schema document, which is known by its SHA-256 and never
// changes. Everything that
// is read is bounded and read strictly: no indefinite lengths, no duplicate
// keys, no bytes left over, and no more memory than a small multiple of what the
// limits in limits.go allow. Fields that are not known are refused, but in
// documents that have room for extension (document.UnmarshalOpen, schemas of version 2).
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
// A schema document is
//
//	schema = {
//	  "v": 2, "campaign": tstr, "rule": tstr,
//	  "tick": uint,                       ; µs for each unit of time
//	  "mode": "all" / "grid" / "onchange",
//	  ? "files": [* bstr .size 32],       ; hashes of the files that describe the signals
//	  "signals": [* signal],
//	  "groups": [* [+ uint]],             ; signals that arrive together, by their place in signals
//	  ? "must": [* tstr],                 ; fields that a reader must not pass over
//	}
//	signal = {
//	  "n": tstr, "bus": tstr, "msg": tstr, ? "u": tstr, ? "vss": tstr,
//	  ? "signed": true, ? "ieee": 32 / 64, ? "scale": tstr, ? "offset": tstr, ? "val": {* int => tstr},
//	  ("can": {"id": uint, ? "ext": true, ? "j1939": true, "start": uint, "len": uint, ? "be": true} //
//	   "kind": tstr)                      ; gnss, workload, diagnostics, or of a later version
//	}
//
// Version 1 has "dbc" instead of "files", the members of "can" in the signal
// itself and no "kind"; it is written as long as it can say it, and read strictly.
//
// The package knows no topics, queues or files, asks no clock and starts no
// goroutine. How frames become raw values is the business of protocol/dbc.
package codec
