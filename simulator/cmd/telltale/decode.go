package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
)

type decodeCommand struct {
	recording
	Log string `arg:"" help:"A log of candump, Vector ASC, PEAK TRC or SavvyCAN CSV, plain or zstd."`
}

// decodeBatch is how many frames are read at once.
const decodeBatch = 512

// Run prints frame number, bus, message, signal, raw, physical and unit of every signal.
func (c *decodeCommand) Run(ctx context.Context) error {
	buses, err := c.buses()
	if err != nil {
		return err
	}
	list, err := sources(buses)
	if err != nil {
		return err
	}
	plan, _, err := dbc.Compile(list)
	if err != nil {
		return err
	}
	log, err := drive.OpenContext(ctx, c.Log)
	if err != nil {
		return err
	}
	defer log.Close()
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	err = decodeLog(ctx, plan, log, out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	warn(log.Problems(), log.Counts().Bad, "lines could not be read")
	if err != nil {
		return err
	}
	for _, name := range plan.Buses() {
		if !slices.Contains(log.Buses(), name) {
			return fmt.Errorf("--dbc %s: the log has no such bus; it has %s", name, strings.Join(log.Buses(), ", "))
		}
	}
	return nil
}

func decodeLog(ctx context.Context, plan *dbc.Plan, log *drive.Reader, out *bufio.Writer) error {
	index := map[string]int{}
	for i, name := range plan.Buses() {
		index[name] = i
	}
	raw, line := make([]int64, plan.MaxSignals()), []byte(nil)
	frames := make([]drive.Recorded, decodeBatch)
	for ctx.Err() == nil {
		n, err := log.Next(frames)
		for i := range frames[:n] {
			f := &frames[i]
			bus, ok := index[f.Bus]
			if !ok {
				continue
			}
			layout, count := plan.Decode(bus, &f.Frame, raw)
			for k := range count {
				sig := &plan.Signals()[plan.Layouts()[layout].Signals[k]]
				line = appendSignal(line[:0], f.Index, sig, raw[k])
				if _, err := out.Write(line); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// appendSignal writes one line. The raw value of a floating-point signal is the value itself.
func appendSignal(line []byte, frame uint64, sig *dbc.SignalInfo, raw int64) []byte {
	line = strconv.AppendUint(line, frame, 10)
	for _, field := range [...]string{sig.Bus, sig.Message, sig.Name} {
		line = appendField(append(line, '\t'), field)
	}
	line = append(line, '\t')
	switch {
	case sig.IEEE != 0:
		line = appendFloat(line, math.Float64frombits(uint64(raw)))
	case sig.Signed:
		line = strconv.AppendInt(line, raw, 10)
	default:
		line = strconv.AppendUint(line, uint64(raw), 10)
	}
	line = appendFloat(append(line, '\t'), sig.Physical(raw))
	return append(appendField(append(line, '\t'), sig.Unit), '\n')
}

// appendField writes a text of the DBC file; tabs and line ends in it would be taken for those of the output.
func appendField(line []byte, text string) []byte {
	for _, c := range []byte(text) {
		line = append(line, max(c, ' '))
	}
	return line
}

// appendFloat writes the shortest form that reads back the same, with a decimal
// point, and an exponent for the very small and large only: as Python and
// JavaScript do it, so that other tools' output can be compared as text.
func appendFloat(line []byte, f float64) []byte {
	const small, large = 1e-4, 1e16
	start, form := len(line), byte('g')
	if abs := math.Abs(f); abs >= small && abs < large {
		form = 'f'
	}
	line = strconv.AppendFloat(line, f, form, -1, 64)
	for _, c := range line[start:] {
		if c == '.' || c == 'e' || c == 'N' || c == 'I' {
			return line
		}
	}
	return append(line, ".0"...)
}
