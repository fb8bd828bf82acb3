package drive

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	"telltale.dev/protocol/can"
)

// readBatch is how many frames are read at once.
const readBatch = 512

// Log is what a whole log holds.
type Log struct {
	Path     string
	Format   Format
	Counts   Counts
	Problems []Problem
	Warnings []Problem
	Buses    []LogBus // in the order of their first frames
	// First and Last are the lowest and highest times at which its frames are
	// played, in µs since the Unix epoch: those of the log, but a clock that was
	// set back goes on from where it was.
	First, Last int64

	options  Options
	timeline timeline
}

// LogBus is one bus of a log.
type LogBus struct {
	Name   string
	Frames uint64
	Data   uint64            // frames that carry data: neither remote nor error frames
	IDs    map[can.ID]uint64 // data frames of each identifier
}

// Duration is the time between the first and the last frame.
func (l *Log) Duration() time.Duration {
	return micros(l.Last - l.First)
}

// oldest is where dates begin to be those of recordings: CAN is younger (µs since the epoch, 1986).
const oldest = 16 * 365 * 24 * 3600 * 1_000_000

// Dated says whether the times of the log are those of a calendar, not counted from the start of something.
func (l *Log) Dated() bool { return l.First >= oldest }

// longGap is a gap worth telling, and so is one that fills a tenth of the drive.
const longGap = time.Minute

// Remarks tell what somebody who plays the log should know of its times, one
// line each; moved says that the frames get other times than the recorded ones.
func (l *Log) Remarks(moved bool) (lines []string) {
	name := filepath.Base(l.Path)
	for _, w := range l.Warnings {
		lines = append(lines, w.String())
	}
	if !moved && !l.Dated() {
		lines = append(lines, fmt.Sprintf("%s has no date: its data will lie in date=%s; --start 2025-01-06T08:30:00Z says when it was recorded",
			name, time.UnixMicro(l.First).UTC().Format(time.DateOnly)))
	}
	if back := l.timeline.back; back.Count > 0 {
		lines = append(lines, fmt.Sprintf("%s: its clock was set back (%d in all; the farthest at %s by %v); the drive goes on from there without a step",
			name, back.Count, stamp(back.From), micros(back.Length)))
	}
	if gap := l.timeline.gap; micros(gap.Length) >= longGap && micros(gap.Length) >= l.Duration()/10 {
		lines = append(lines, fmt.Sprintf("%s has no frame for %v from %s on; the drive waits that long, divided by its speed", name, micros(gap.Length), stamp(gap.From)))
	}
	return lines
}

// longestDrive is how long a log may play. One that would take longer has a wrong time in it, such as a 0 in front.
const longestDrive = 366 * 24 * time.Hour

// CheckLength refuses a log that would not end at a speed; 0: it plays for a minute.
func (l *Log) CheckLength(speed float64) error {
	lasts := float64(l.Duration()) / speed
	if speed == 0 || lasts <= float64(longestDrive) {
		return nil
	}
	day := func(us int64) string { return time.UnixMicro(us).UTC().Format(time.DateOnly) }
	return fmt.Errorf("%s goes from %s to %s and would play for %.0f days: a time in it is wrong, or it needs a higher --speed",
		filepath.Base(l.Path), day(l.First), day(l.Last), lasts/float64(24*time.Hour))
}

// micros makes a duration of µs.
func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// Names gives the names of the buses, in order.
func (l *Log) Names() []string {
	names := make([]string, len(l.Buses))
	for i := range l.Buses {
		names[i] = l.Buses[i].Name
	}
	return names
}

// NewLog makes a Log without a frame; Scan makes it of a whole log.
func NewLog(path string) *Log { return &Log{Path: path, First: math.MaxInt64, Last: math.MinInt64} }

// Scan reads a whole log once and says what is in it.
func Scan(ctx context.Context, path string) (*Log, error) { return Options{}.Scan(ctx, path) }

// Scan is Scan with options, with which a Player reads the log again.
func (o Options) Scan(ctx context.Context, path string) (*Log, error) {
	r, err := o.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l := NewLog(path)
	l.Format, l.options = r.Format(), o
	batch := make([]Recorded, readBatch)
	for {
		n, err := r.Next(batch)
		for i := range batch[:n] {
			l.Add(&batch[i])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	l.Counts, l.Problems, l.Warnings = r.Counts(), r.Problems(), r.Warnings()
	return l, nil
}

// Add takes the next frame of the log into account.
func (l *Log) Add(f *Recorded) {
	if f.Channel == len(l.Buses) {
		l.Buses = append(l.Buses, LogBus{Name: f.Bus, IDs: map[can.ID]uint64{}})
	}
	b := &l.Buses[f.Channel]
	b.Frames++
	if f.Flags&(can.Remote|can.Error) == 0 {
		b.Data++
		b.IDs[f.ID]++
	}
	played := l.timeline.at(f.Time)
	l.First, l.Last = min(l.First, played), max(l.Last, played)
}

// bus gives the bus of that name, or nil.
func (l *Log) bus(name string) *LogBus {
	if i := slices.IndexFunc(l.Buses, func(b LogBus) bool { return b.Name == name }); i >= 0 {
		return &l.Buses[i]
	}
	return nil
}
