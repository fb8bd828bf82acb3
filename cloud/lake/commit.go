package lake

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keepRows is how many rows of memory are kept between commits: 24 MB.
const keepRows = 1 << 20

const microsPerDay = 24 * 3600 * 1_000_000

// Commit makes everything appended since the last commit durable as the
// messages after the checkpoint up to last, together with the ledger. After an
// error, which is one of the file system, the files that readers see may hold
// the rows already, but a restart would not: call Commit again with the same
// position until it gives nil.
func (w *Writer) Commit(last uint64, ledger []byte) error {
	if w.retrying && last != w.retry {
		return fmt.Errorf("lake: commit of %d while %d is open: %w", last, w.retry, ErrUncommitted)
	}
	if last <= w.last {
		if last == w.last && len(w.rows) == 0 {
			return nil
		}
		return fmt.Errorf("lake: commit of %d after %d: %w", last, w.last, ErrUncommitted)
	}
	w.retrying, w.retry = true, last
	if err := w.commit(last, ledger); err != nil {
		return fmt.Errorf("lake: stream %s: %w", w.cfg.Stream, bare(err))
	}
	w.retrying = false
	w.last, w.ledger = last, slices.Clone(ledger)
	w.nRows.Add(uint64(len(w.rows)))
	w.nCommits.Add(1)
	w.rows, w.batches = reuse(w.rows), w.batches[:0]
	w.signals.trim()
	return nil
}

// reuse empties rows for the next commit, unless a rare large batch made them so
// long that the memory is better given back.
func reuse(rows []row) []row {
	if cap(rows) > keepRows {
		return nil
	}
	return rows[:0]
}

func (w *Writer) commit(last uint64, ledger []byte) error {
	name := partName(w.cfg.Stream, w.last+1, last)
	days := w.splitDays()
	var size uint64
	for _, d := range days {
		n, err := w.writePart(d, filepath.Join(w.cfg.Dir, tmpDir, d.tmpName(name)))
		if err != nil {
			return err
		}
		size += n
	}
	for _, d := range days {
		if err := w.publishPart(d, name); err != nil {
			return err
		}
	}
	if err := w.syncDates(days); err != nil {
		return err
	}
	if err := w.writeCheckpoint(last, ledger); err != nil {
		return err
	}
	w.nFiles.Add(uint64(len(days)))
	w.nBytes.Add(size)
	return nil
}

// day is the rows of one date, in the order they were appended.
type day struct {
	date string // folder
	rows []row
}

// tmpName keeps the dates of one commit apart in .tmp; it begins like the part, for removeUnfinished.
func (d day) tmpName(part string) string { return part + "." + d.date }

// splitDays groups the waiting rows by UTC date. Nearly always there is one.
func (w *Writer) splitDays() []day {
	if len(w.rows) == 0 {
		return nil
	}
	dayOf := func(r row) int64 { return r.time / microsPerDay } // times are not negative
	one := true
	for i := range w.rows {
		if dayOf(w.rows[i]) != dayOf(w.rows[0]) {
			one = false
			break
		}
	}
	if !one {
		slices.SortStableFunc(w.rows, func(a, b row) int { return cmp.Compare(dayOf(a), dayOf(b)) })
	}
	var days []day
	for start := 0; start < len(w.rows); {
		end := start + 1
		for end < len(w.rows) && dayOf(w.rows[end]) == dayOf(w.rows[start]) {
			end++
		}
		days = append(days, day{date: DateDir(time.UnixMicro(w.rows[start].time)), rows: w.rows[start:end]})
		start = end
	}
	return days
}

// writePart writes and syncs one file, and gives its size in bytes.
func (w *Writer) writePart(d day, name string) (size uint64, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()))
		}
	}()
	if err := w.part.write(f, d.rows, w.batches, w.signals.signals); err != nil {
		return 0, err
	}
	if err := w.after("part written"); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	return uint64(info.Size()), w.after("part synced")
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// publishPart renames a finished file to where readers look.
func (w *Writer) publishPart(d day, name string) error {
	dir := filepath.Join(w.cfg.Dir, d.date)
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(filepath.Join(w.cfg.Dir, tmpDir, d.tmpName(name)), filepath.Join(dir, name)); err != nil {
		return err
	}
	return w.after("part renamed")
}

// syncDates makes the renames last, and the folders themselves.
func (w *Writer) syncDates(days []day) error {
	for _, d := range days {
		if err := syncDir(filepath.Join(w.cfg.Dir, d.date)); err != nil {
			return err
		}
	}
	if len(days) > 0 {
		if err := syncDir(w.cfg.Dir); err != nil {
			return err
		}
	}
	return w.after("dates synced")
}

// after lets a test fail or crash a commit behind a step.
func (w *Writer) after(step string) error {
	if w.step == nil {
		return nil
	}
	return w.step(step)
}
