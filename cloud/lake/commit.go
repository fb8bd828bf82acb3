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

	"telltale.dev/hal/durable"
)

// keepRows is how many rows of memory are kept between commits: 28 MB with their order.
const keepRows = 1 << 20

const microsPerDay = 24 * 3600 * 1_000_000

// Commit makes everything appended since the last commit durable as the
// messages after the checkpoint up to last, together with what the ledger adds to
// what the commits before were given. Next is the first message of the stream that a restart
// reads again: no later than last+1. After an
// error, which is one of the file system, the files that readers see may hold
// the rows already, but a restart would not: call Commit again with the same
// arguments until it gives nil.
func (l *Lake) Commit(last, next uint64, ledger []byte) error {
	if l.retrying && last != l.retry {
		return fmt.Errorf("lake: commit of %d while %d is open: %w", last, l.retry, ErrUncommitted)
	}
	if last <= l.last {
		if last == l.last && len(l.rows) == 0 {
			return nil
		}
		return fmt.Errorf("lake: commit of %d after %d: %w", last, l.last, ErrUncommitted)
	}
	l.retrying, l.retry = true, last
	k := link{after: l.last, last: last, next: next, ledger: ledger}
	if err := l.commit(&k); err != nil {
		return fmt.Errorf("lake: stream %s: %w", l.cfg.Stream, bare(err))
	}
	l.retrying = false
	k.ledger = nil
	l.last, l.chain.links = last, append(l.chain.links, k)
	l.fold()
	l.nRows.Add(uint64(len(l.rows)))
	l.nCommits.Add(1)
	l.rows, l.batches, l.order = reuse(l.rows), l.batches[:0], reuse(l.order)
	l.series.clear()
	l.signals.trim()
	return nil
}

// reuse empties rows, or their order, for the next commit, unless a rare large batch
// made them so long that the memory is better given back.
func reuse[T any](rows []T) []T {
	if cap(rows) > keepRows {
		return nil
	}
	return rows[:0]
}

func (l *Lake) commit(k *link) error {
	name := partName(l.cfg.Stream, k.after+1, k.last)
	days := l.splitDays()
	ranks, places := l.series.ranks(l.signals.signals)
	var size uint64
	for _, d := range days {
		l.order = arrange(d.rows, l.batches, ranks, places, l.order)
		n, err := l.writePart(d, filepath.Join(l.cfg.Dir, tmpDir, d.tmpName(name)))
		if err != nil {
			return err
		}
		size += n
	}
	for _, d := range days {
		if err := l.publishPart(d, name); err != nil {
			return err
		}
	}
	if err := l.syncDates(days); err != nil {
		return err
	}
	if err := l.writeFile(l.linkName(*k), kindLink, k); err != nil { // the point of the commit
		return err
	}
	l.nFiles.Add(uint64(len(days)))
	l.nBytes.Add(size)
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
func (l *Lake) splitDays() []day {
	if len(l.rows) == 0 {
		return nil
	}
	dayOf := func(r row) int64 { return r.time / microsPerDay } // times are not negative
	one := true
	for i := range l.rows {
		if dayOf(l.rows[i]) != dayOf(l.rows[0]) {
			one = false
			break
		}
	}
	if !one {
		slices.SortStableFunc(l.rows, func(a, b row) int { return cmp.Compare(dayOf(a), dayOf(b)) })
	}
	var days []day
	for start := 0; start < len(l.rows); {
		end := start + 1
		for end < len(l.rows) && dayOf(l.rows[end]) == dayOf(l.rows[start]) {
			end++
		}
		days = append(days, day{date: DateDir(time.UnixMicro(l.rows[start].time)), rows: l.rows[start:end]})
		start = end
	}
	return days
}

// writePart writes the rows of d in l.order to one file, syncs it, and gives its size in bytes.
func (l *Lake) writePart(d day, name string) (size uint64, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()))
		}
	}()
	rows := ordered{rows: d.rows, order: l.order, batches: l.batches, series: l.series.series, signals: l.signals.signals}
	if err := l.part.write(f, &rows); err != nil {
		return 0, err
	}
	if err := l.after("part written"); err != nil {
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
	return uint64(info.Size()), l.after("part synced")
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// publishPart renames a finished file to where readers look.
func (l *Lake) publishPart(d day, name string) error {
	dir := filepath.Join(l.cfg.Dir, d.date)
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(filepath.Join(l.cfg.Dir, tmpDir, d.tmpName(name)), filepath.Join(dir, name)); err != nil {
		return err
	}
	return l.after("part renamed")
}

// syncDates makes the renames last, and the folders themselves.
func (l *Lake) syncDates(days []day) error {
	for _, d := range days {
		if err := durable.SyncFolder(filepath.Join(l.cfg.Dir, d.date)); err != nil {
			return err
		}
	}
	if len(days) > 0 {
		if err := durable.SyncFolder(l.cfg.Dir); err != nil {
			return err
		}
	}
	return l.after("dates synced")
}

// after lets a test fail or crash a commit behind a step.
func (l *Lake) after(step string) error {
	if l.step == nil {
		return nil
	}
	return l.step(step)
}
