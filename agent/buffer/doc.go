// Package buffer keeps batches and statuses on the vehicle's flash from the
// moment they are made until the cloud has them on disk. What Append returned
// for is there after any crash or power cut, in order, once.
//
// It is not a queue of work (it never calls anybody), not a cache, and it does
// not look into payloads. It knows no network: link reads, sends, and
// acknowledges by Position.
//
// # On disk
//
// Each priority class has its own row of segment files, numbered from 1:
//
//	LOCK               flock: one process at a time
//	VERSION            "telltale-buffer 1"; written anew when it is damaged
//	cs1-00000006.seg   a bbolt file, sealed: never written again
//	cs1-00000007.seg   the newest of its class
//	cs5-00000001.seg
//	cs0-00000002.seg.corrupt   set aside, never read again
//
// A segment is written by one process only. After a start, and after any
// write error, the next append to a class begins a new segment, so that no
// file of doubtful state is ever written again. Within a segment there are
// three bbolt buckets:
//
//	records      index ‖ chunk → at most 790 bytes of a record
//	checkpoints  generation ‖ n ‖ chunk → likewise
//	now          "commit": the last commit in this file
//	             "state", "boots", "evicted": the accounts
//
// Small chunks in one ascending row of keys keep bbolt's copy-on-write cheap:
// an append rewrites one partly filled leaf and the path above it.
// Acknowledging writes nothing by itself: the set of acknowledged records
// goes along with the next commit, and a segment is unlinked as a whole.
//
// # Commits
//
// Appends that wait at the same time are committed together as one group. A
// group has a generation, rising for ever. When it touches several classes,
// their files are committed one after another, and only the last one (the
// decisive one) carries the accounts: after a crash in between, the parts
// of a generation for which there is no decisive commit are void. The accounts of
// the highest generation found in any segment are the accounts; a new segment
// starts with a full copy, and the newest segment of a class is never
// unlinked, so that there always is one.
//
// # Durability
//
// On disk means: data written and fdatasync'd, and for a new file the
// directory fsync'd too. A checksum (CRC-32C) covers each record and each
// account.
package buffer
