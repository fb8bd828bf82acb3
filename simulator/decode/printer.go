package decode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/protocol"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/j1939"
	"telltale.dev/protocol/signal"
	"telltale.dev/simulator/drive"
)

// Form says how lines look. The zero Form has the columns frame, bus, message,
// signal, raw, value and unit, separated by tabs, without a header.
type Form struct {
	Header bool // first a line with the names of the columns
	Time   bool // a column time behind frame: RFC 3339 in UTC, to the µs
	Text   bool // a column text at the end: what the DBC file calls the value
	CSV    bool // separated by commas as in RFC 4180, with header, time and text
	// Rounded: values have no more decimals than factor and offset of their signal, 36.24 instead of 36.239999999999995.
	// Else they are what the multiplication of float64 gives, each bit of it, as other tools have it.
	Rounded bool
}

// Printer writes a line for each signal of the frames that its plan knows. It
// is not safe for concurrent use.
type Printer struct {
	form   Form
	plan   *dbc.Plan
	out    *bufio.Writer
	buses  map[string]int
	wanted []bool             // by signal of the plan
	long   []*j1939.Assembler // by bus of the plan; nil: it has no J1939 messages of more than 8 bytes
	raw    []int64
	line   []byte
}

// New makes a Printer and writes the header, if there is one. Of the signals
// those are written that match one of the globs, all without a glob; a glob
// with dots is matched with bus.message.signal, another with the signal's name.
func New(plan *dbc.Plan, out *bufio.Writer, form Form, globs []string) (*Printer, error) {
	if form.CSV {
		form.Header, form.Time, form.Text = true, true, true
	}
	p := &Printer{form: form, plan: plan, out: out, buses: map[string]int{}, raw: make([]int64, plan.MaxSignals())}
	for i, name := range plan.Buses() {
		p.buses[name] = i
		p.long = append(p.long, nil)
		if plan.Long(i) {
			p.long[i] = new(j1939.Assembler)
		}
	}
	for _, s := range plan.Signals() {
		ok, err := matches(globs, s)
		if err != nil {
			return nil, err
		}
		p.wanted = append(p.wanted, ok)
	}
	if len(globs) > 0 && !slices.Contains(p.wanted, true) {
		return nil, fmt.Errorf("--signal %s: no signal of the DBC files matches", strings.Join(globs, " --signal "))
	}
	return p, p.header()
}

// matches says whether a signal is one of the wanted.
func matches(globs []string, s dbc.SignalInfo) (bool, error) {
	for _, glob := range globs {
		name := s.Name
		if strings.Contains(glob, ".") {
			name = s.Bus + "." + s.Message + "." + s.Name
		}
		ok, err := protocol.MatchName(glob, name)
		if err != nil {
			return false, fmt.Errorf("--signal: expected a glob such as 'Engine*' or 'can0.Motor.*': %w", err)
		}
		if ok {
			return true, nil
		}
	}
	return len(globs) == 0, nil
}

// header writes the names of the columns.
func (p *Printer) header() error {
	if !p.form.Header {
		return nil
	}
	names := []string{"frame"}
	if p.form.Time {
		names = append(names, "time")
	}
	names = append(names, "bus", "message", "signal", "raw", "value", "unit")
	if p.form.Text {
		names = append(names, "text")
	}
	separator := "\t"
	if p.form.CSV {
		separator = ","
	}
	_, err := p.out.WriteString(strings.Join(names, separator) + "\n")
	return err
}

// batch is how many frames are read at once.
const batch = 512

// Log writes all frames of a log, and calls seen, unless it is nil, for each in
// front of its lines; an error of seen ends it. With live each line is handed
// on as soon as its frame has been read. At the end of ctx it gives ctx.Err().
func (p *Printer) Log(ctx context.Context, log *drive.Reader, live bool, seen func(*drive.Recorded) error) error {
	frames := make([]drive.Recorded, batch)
	for ctx.Err() == nil {
		n, err := log.Next(frames)
		for i := range frames[:n] {
			if seen != nil {
				if err := seen(&frames[i]); err != nil {
					return err
				}
			}
			if err := p.Frame(&frames[i]); err != nil {
				return err
			}
		}
		if live && n > 0 {
			if err := p.out.Flush(); err != nil {
				return err
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

// Frame writes the signals of one frame, and behind them those of a J1939 message of which it is the last part.
func (p *Printer) Frame(f *drive.Recorded) error {
	bus, ok := p.buses[f.Bus]
	if !ok {
		return nil
	}
	layout, count := p.plan.Decode(bus, &f.Frame, p.raw)
	if err := p.write(f, layout, count); err != nil || p.long[bus] == nil {
		return err
	}
	m := p.long[bus].Add(&f.Frame)
	if m == nil {
		return nil
	}
	layout, count = p.plan.DecodeLong(bus, m.ID(), m.Data, p.raw)
	return p.write(f, layout, count)
}

// Long ends the J1939 messages that are open, and says in words, for each bus, what was not put together.
func (p *Printer) Long() (lines []string) {
	for i, long := range p.long {
		if long == nil {
			continue
		}
		long.Drop(j1939.Unfinished)
		if text := long.Counts().Trouble(); text != "" {
			lines = append(lines, fmt.Sprintf("%s: J1939 messages of more than 8 bytes: %d complete, %s", p.plan.Buses()[i], long.Counts().Complete, text))
		}
	}
	return lines
}

// write writes the first values of raw, which are those of a layout.
func (p *Printer) write(f *drive.Recorded, layout, count int) error {
	for k := range count {
		signal := p.plan.Layouts()[layout].Signals[k]
		if !p.wanted[signal] {
			continue
		}
		p.signal(f, &p.plan.Signals()[signal], p.raw[k])
		if _, err := p.out.Write(p.line); err != nil {
			return err
		}
	}
	return nil
}

// signal makes one line. The raw value of a floating-point signal is the value itself. In the place of a value
// that a J1939 signal does not have stands why: not_available or error.
func (p *Printer) signal(f *drive.Recorded, sig *dbc.SignalInfo, raw int64) {
	separator := byte('\t')
	if p.form.CSV {
		separator = ','
	}
	line := strconv.AppendUint(p.line[:0], f.Index, 10)
	if p.form.Time {
		line = f.At().AppendFormat(append(line, separator), "2006-01-02T15:04:05.000000Z")
	}
	for _, field := range [...]string{sig.Bus, sig.Message, sig.Name} {
		line = p.field(append(line, separator), field)
	}
	line = append(line, separator)
	switch {
	case sig.IEEE != 0:
		line = appendFloat(line, math.Float64frombits(uint64(raw)))
	case sig.Signed:
		line = strconv.AppendInt(line, raw, 10)
	default:
		line = strconv.AppendUint(line, uint64(raw), 10)
	}
	line = append(line, separator)
	if v := sig.Validity(raw); v != signal.Valid {
		line = append(line, v.String()...)
	} else if p.form.Rounded {
		line = appendRounded(line, sig.Signal, sig.Physical(raw))
	} else {
		line = appendFloat(line, sig.Physical(raw))
	}
	line = p.field(append(line, separator), sig.Unit)
	if p.form.Text {
		text, _ := sig.Text(raw)
		line = p.field(append(line, separator), text)
	}
	p.line = append(line, '\n')
}

// field appends a text of the DBC file; separators and line ends in it would be taken for those of the output.
func (p *Printer) field(line []byte, text string) []byte {
	quoted := p.form.CSV && strings.ContainsAny(text, ",\"")
	if quoted {
		line = append(line, '"')
	}
	for _, c := range []byte(text) {
		if quoted && c == '"' {
			line = append(line, '"')
		}
		line = append(line, max(c, ' '))
	}
	if quoted {
		line = append(line, '"')
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
