// Package lake keeps samples for ever in Parquet files that anybody can read:
// one row a sample, one folder a day of source time.
//
//	lake/
//	  date=2026-11-23/part-UP-1-4711.parquet     messages 1 to 4711 of stream UP
//	  date=2026-11-23/part-LOW-1-97.parquet
//	  checkpoint-UP  checkpoint-LOW              what is in the files, and the ledger, up to some commit
//	  checkpoint-UP-4711-5000                    what the commit of the messages 4712 to 5000 added to that
//	  .tmp/                                      files in the making
//
// A reader that lists date=*/part-*.parquet at any moment sees only whole files,
// and each row once. That holds across a crash at any point, because a commit
// has one point: the renaming of its link of the checkpoint.
//
//  1. the parts, one for each date, are written and synced under .tmp/
//  2. each is renamed into its date, and the folders are synced
//  3. the link is written and synced under .tmp/, renamed, the folder synced
//
// Before 3 nothing has happened: Open deletes the parts beyond the checkpoint,
// and the stream is read again from there. After 3 everything has. When the stream
// cannot be read again from there, the checkpoint is an older copy: Open refuses.
//
// So a commit writes what came since the one before, however much the ledger holds. In the background
// the links are folded into a new checkpoint-UP, which is renamed over the old one and says the same; then they are deleted.
// Those that a crash leaves over are deleted by Open. A link that cannot be read, or that is missing before another, ends
// the chain: Open sets it and those after it aside, says so, and goes on as after a crash before those commits. When the
// stream has no more what came since then, or the base cannot be read, Open refuses and says which file to put back.
//
// The columns, in their order (rowType):
//
//	time         source time: UTC, µs, in steps of the campaign's encoding.tick
//	vid          vehicle
//	did boot seq device, its start, and the number of the batch that the sample came in
//	campaign     which collected it
//	bus message signal
//	path         in the Vehicle Signal Specification; null: none is assigned
//	value        physical, in unit; null: raw is no measurement, see quality
//	raw          the integer on the bus; null: see raw_bits
//	text         of the value table; null: it has none for raw
//	unit         null: none
//	raw_bits     what raw cannot hold: the bits of a float, 32 or 64 of them, and unsigned integers from 2^63 on
//	quality      of J1939 signals (SAE J1939-71): not_available or error; null: value is a measurement or a state
//	purpose      under which it was collected; null: none was given
//	time_quality of the vehicle's clock: gnss, ntp, rtc or unsynced; null: it did not say
//	received     when the cloud got it: UTC, µs
//
// The rows of a file are sorted by vid, bus, message, signal, time, boot and seq, which its row
// groups declare, so one signal is a run of rows, and cheap to keep and to find. A message may come
// several times within one step of time, and the samples of one time may be in two batches, and those in two parts, whose
// names are in no order of time. A device numbers the batches of a campaign's rule in the order in which it collected,
// and rows of one batch, signal and time stay in the order in which they were on the bus. So the order on the
// bus is that of time, boot, seq and the place in the file. Parts of earlier versions are sorted by
// time, or not by boot and seq, write a missing unit as an empty text, lack the columns from raw_bits on, have in raw
// the bits of a float as one of 64, negative numbers for unsigned ones from 2^63 on, and values
// for what J1939 signals do not measure. Later
// versions may add columns, too, so readers of many parts go by name:
//
//	SELECT time, value, unit
//	FROM read_parquet('lake/date=*/*.parquet', union_by_name=true, file_row_number=true) -- DuckDB
//	WHERE vid = 'anna' AND signal = 'SPEED' ORDER BY time, boot, seq, file_row_number
//
// The package knows nothing of messages, of duplicates, or of what a ledger
// means: that is cloud/ingest. It does not compact, expire or query either.
package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Errors that callers branch on.
var (
	// ErrUnfit: the batch cannot be represented, now or ever.
	ErrUnfit = errors.New("batch does not fit the lake")
	// ErrUncommitted: a commit went wrong; nothing but the same commit can be done.
	ErrUncommitted = errors.New("a commit is not finished")
	// ErrCheckpoint: the checkpoint and the files do not belong together, or it cannot be read.
	ErrCheckpoint = errors.New("invalid checkpoint")
)

const (
	tmpDir   = ".tmp"
	fileMode = 0o640
	dirMode  = 0o750
)

// Config says where a Lake works.
type Config struct {
	Dir    string       // made when it is not there; shared by the lakes of all streams
	Stream string       // letters, digits and _: "UP"
	Oldest uint64       // position from which on the stream can be read again; 0: all of it
	Log    *slog.Logger // discarded when nil

	// Fold joins what commits were given, in their order, to one that says the same. It runs beside
	// commits. Nil: each commit says everything, and the newest is enough.
	Fold func(ledgers ...[]byte) ([]byte, error)
}

// Stats counts since Open, except for Removed.
type Stats struct {
	Rows    uint64 `json:"rows"`    // in finished files
	Files   uint64 `json:"files"`   // finished
	Bytes   uint64 `json:"bytes"`   // of them
	Commits uint64 `json:"commits"` //
	Removed uint64 `json:"removed"` // unfinished and uncommitted files deleted by Open
}

// Lake collects the rows of one stream and commits them. One goroutine uses
// it; Stats may be called from any. There is one Lake for each stream.
type Lake struct {
	cfg Config

	last     uint64   // of the checkpoint
	chain    chain    // that the checkpoint is
	folding  *folding // nil: none is under way
	foldFrom int      // links from which on it is tried again, after an error
	maxFile  int64    // maxCheckpoint, but in tests

	rows     []row
	batches  []batchRef
	signals  signalTable
	series   seriesTable
	members  []uint32 // memory of Append
	order    []uint32 // memory of a commit
	part     partWriter
	retrying bool   // a commit failed half way
	retry    uint64 // and was about this position

	step func(step string) error // of the tests: called after each step of a commit

	nRows, nFiles, nBytes, nCommits, nRemoved atomic.Uint64
}

// Open makes the folders, deletes what an interrupted commit left behind, and
// reads the checkpoint. The error wraps ErrCheckpoint when files and checkpoint
// do not belong together; nothing is deleted then.
func Open(cfg Config) (*Lake, error) {
	if !validStream(cfg.Stream) {
		return nil, errors.New("lake: stream: expected 1 to 32 letters, digits and _")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Fold == nil {
		cfg.Fold = newest
	}
	l := &Lake{cfg: cfg, signals: newSignalTable(), maxFile: maxCheckpoint}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, tmpDir), dirMode); err != nil {
		return nil, fmt.Errorf("lake: %w", bare(err))
	}
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("lake: stream %s: %w", cfg.Stream, bare(err))
	}
	return l, nil
}

// Close drops the rows that wait for a commit, and waits for what is done in the background.
func (l *Lake) Close() error {
	l.waitFold()
	l.rows, l.batches, l.order = nil, nil, nil
	l.series.clear()
	return nil
}

// Rows is the number of rows waiting for a commit.
func (l *Lake) Rows() int { return len(l.rows) }

// Stats gives the counters.
func (l *Lake) Stats() Stats {
	return Stats{
		Rows: l.nRows.Load(), Files: l.nFiles.Load(), Bytes: l.nBytes.Load(),
		Commits: l.nCommits.Load(), Removed: l.nRemoved.Load(),
	}
}

// bare strips folders of this machine from an error of the file system.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s %s: %w", p.Op, filepath.Base(p.Path), p.Err)
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return fmt.Errorf("%s %s: %w", l.Op, filepath.Base(l.New), l.Err)
	}
	return err
}
