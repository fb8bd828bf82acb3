package drive

import (
	"context"
	"io"
	"math"
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
	// First and Last are the lowest and highest times of its frames, in µs since the Unix epoch.
	First, Last int64

	options Options
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
	return time.Duration(l.Last-l.First) * time.Microsecond
}

// Names gives the names of the buses, in order.
func (l *Log) Names() []string {
	names := make([]string, len(l.Buses))
	for i := range l.Buses {
		names[i] = l.Buses[i].Name
	}
	return names
}

// Scan reads a whole log once and says what is in it.
func Scan(ctx context.Context, path string) (*Log, error) { return Options{}.Scan(ctx, path) }

// Scan is Scan with options, with which a Player reads the log again.
func (o Options) Scan(ctx context.Context, path string) (*Log, error) {
	r, err := o.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l := &Log{Path: path, Format: r.Format(), options: o, First: math.MaxInt64, Last: math.MinInt64}
	batch := make([]Recorded, readBatch)
	for {
		n, err := r.Next(batch)
		for i := range batch[:n] {
			l.add(&batch[i])
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

func (l *Log) add(f *Recorded) {
	if f.Channel == len(l.Buses) {
		l.Buses = append(l.Buses, LogBus{Name: f.Bus, IDs: map[can.ID]uint64{}})
	}
	b := &l.Buses[f.Channel]
	b.Frames++
	if f.Flags&(can.Remote|can.Error) == 0 {
		b.Data++
		b.IDs[f.ID]++
	}
	l.First, l.Last = min(l.First, f.Time), max(l.Last, f.Time)
}

// bus gives the bus of that name, or nil.
func (l *Log) bus(name string) *LogBus {
	if i := slices.IndexFunc(l.Buses, func(b LogBus) bool { return b.Name == name }); i >= 0 {
		return &l.Buses[i]
	}
	return nil
}
