package decode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"telltale.dev/simulator/drive"
)

// StandardInput is the path of standard input.
const StandardInput = "-"

// Input is an open log, whose buses may have been looked for.
type Input struct {
	*drive.Reader
	Names []string   // of the buses, when they were asked for: all of a file, the first of standard input
	Tally *drive.Log // what has been printed so far
	first []drive.Recorded
	live  bool
}

// Open opens a log, and looks for its buses when named says so. Frames of
// standard input that show no time have that of their arrival.
func Open(ctx context.Context, path string, options drive.Options, named bool) (*Input, error) {
	if path == StandardInput {
		options.Now = time.Now
		reader, err := options.Stdin(ctx)
		if err != nil {
			return nil, err
		}
		return Live(reader, named)
	}
	in := &Input{Tally: drive.NewLog(path)}
	if named {
		log, err := options.Scan(ctx, path)
		if err != nil {
			return nil, err
		}
		in.Names = log.Names()
	}
	var err error
	in.Reader, err = options.Open(ctx, path)
	return in, err
}

// Live makes an Input of a log that comes as it is received; when its bus is to
// be named it waits for the first frame. After an error the log is closed.
func Live(log *drive.Reader, named bool) (*Input, error) {
	in := &Input{Reader: log, Tally: drive.NewLog(StandardInput), live: true}
	if !named {
		return in, nil
	}
	in.first = make([]drive.Recorded, 1)
	if _, err := in.Next(in.first); err != nil {
		in.Close()
		return nil, err
	}
	in.Names = in.Buses()
	return in, nil
}

// Print writes all signals of the log, and of standard input each as soon as its frame
// has come. A log whose only bus was looked for must not have another.
func (in *Input) Print(ctx context.Context, p *Printer) error {
	only := len(in.Names) == 1
	seen := func(f *drive.Recorded) error {
		in.Tally.Add(f)
		if only && f.Channel > 0 {
			return fmt.Errorf("--dbc: the log has more than one bus, %s: expected NAME=FILE", strings.Join(in.Buses(), " and "))
		}
		return nil
	}
	for i := range in.first {
		in.Tally.Add(&in.first[i])
		if err := errors.Join(p.Frame(&in.first[i]), p.out.Flush()); err != nil {
			return err
		}
	}
	return p.Log(ctx, in.Reader, in.live, seen)
}
