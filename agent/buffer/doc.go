// Package buffer keeps batches and statuses on the vehicle's flash from the
// moment they are made until the cloud has them on disk. What Append returned
// for is there after any crash or power cut, in order, once.
//
// It is not a queue of work (it calls nobody but the writer given to Send), not a cache, and it does
// not look into payloads. It knows no network: link reads, sends, and
// acknowledges by Position.
//
// # On disk
//
// Each priority class has its own row of segment files, numbered from 1:
//
//	LOCK               flock: one process at a time
//	VERSION            "telltale-buffer 2"; written anew when it is damaged
//	RESERVE            room for one segment on a full device; its content means nothing
//	cs1-00000006.seg   a bbolt file, sealed: never written again
//	cs1-00000007.seg   the newest of its class
//	cs5-00000001.seg
//	cs0-00000002.seg.corrupt   set aside, never read again
//
// A segment is written by one process only. After a start, and after any
// write error, the next append to a class begins a new segment, so that no
// file of doubtful state is ever written again (but on a full device, see below). Within a segment there are
// these bbolt buckets:
//
//	records      index ‖ chunk → at most 790 bytes of a record
//	checkpoints  generation ‖ n ‖ chunk → likewise
//	now          "commit": the last commit in this file
//	             "state", "boots", "evicted": the accounts
//	             "purged": how much of what was evicted was so because of its purpose, and
//	             which checkpoints count no more for that reason
//	             "emptied": what the segment lost when it was emptied in place
//	pending      "evicted", when it is large
//
// Records of version 1 are read where they are; VERSION is raised before the first
// record of version 2 is written, and an agent of version 1 refuses the directory then.
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
// decisive one) carries the accounts: after a crash in between, the portions
// of a generation for which there is no decisive commit are void. The accounts of
// the highest generation found in any segment are the accounts; a new segment
// starts with a full copy, and the newest segment of a class is only
// unlinked when a newer copy is on disk, so that there always is one.
//
// # A device without room
//
// The bound Config.MaxBytes may be more than the device has left, so a full device
// (ENOSPC, EDQUOT) is answered like the bound. In this order, and no further than the
// commit that waits needs:
//
//  1. Files set aside go.
//  2. Segments go whose records are all acknowledged, the newest of a class too.
//  3. Segments of the lowest class go, the oldest first; incoming records of a
//     class are dropped when all that is stored is of higher classes. Both are
//     counted and declared, as at the bound.
//
// What goes is declared in a commit of its own before it is unlinked. That commit
// needs room when there is none. RESERVE is a file of 64 to 128 KiB: it is renamed
// and becomes the new segment, and the next segment that nobody needs is renamed and becomes the
// reserve. So room that the buffer has once is never free in between, and no other program can take
// it. When all is acknowledged, or nothing that may go would help, records may
// take the reserve, too. Without a reserve the accounts are written in place, into pages
// that the newest segment of a class has free; if it is one that is to go, all that is in it goes in
// the same commit, and its pages take what comes next. (When even that fails, as with a damaged file,
// one segment is unlinked first; a crash in the moment before the next commit loses it
// without a word.) On a small device segments are smaller, down to 64 KiB, so that there
// are some to choose from.
//
// Nothing is given up that cannot help: not when even all of it would not make the
// commit fit, not for acknowledgements or the accounts alone (they may take the
// reserve), and not for errors of other kinds (EIO, EROFS, EFBIG). When somebody
// else takes what becomes free, or the buffer has come down to half of what it
// had when the shortage began, the next eviction waits for a minute, then for
// two, and so on up to an hour; meanwhile commits fail with ErrFull. Each call tries
// to write first, so that it goes on by itself when there is room again.
//
// Opening needs no room: in a new directory even the version file can wait for the first commit.
//
// # Durability
//
// On disk means: data written and fdatasync'd, and for a new file the
// directory fsync'd too. A checksum (CRC-32C) covers each record and each
// account.
package buffer
