package drive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"telltale.dev/protocol/can"
)

const (
	// maxLine is the longest line in bytes; the longest real one, a CAN FD frame in ASC, has about 400.
	maxLine = 16 << 10
	// maxProblems bounds the bad lines that are described; all are counted.
	maxProblems = 5
	// byteOrderMark is what editors on Windows put in front of UTF-8.
	byteOrderMark = "\uFEFF"
	// maxBuses bounds the buses of one log; a line of one more is a bad line.
	maxBuses = 256
)

// Recorded is one frame of a log.
type Recorded struct {
	can.Frame
	Bus     string // name; ASC's channel 1 is can0, as in can-utils
	Channel int    // position of Bus in Reader.Buses
	Index   uint64 // number of the frame in the log, from 0
}

// Problem is a line that could not be read.
type Problem struct {
	File     string // base name
	Line     int    // from 1
	Expected string
}

// String gives file:line: what was expected, or for a warning what it says.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Expected) }

// Counts is what a Reader has seen so far.
type Counts struct {
	Lines  int    // lines read
	Frames uint64 // frames among them
	Other  int    // lines that are rightly no frame: headers, comments, statistics, other buses
	Bad    int    // lines that could not be read
}

// Reader reads the frames of one log in the order of the file. It is not safe for concurrent use.
type Reader struct {
	options  Options
	name     string
	format   Format
	in       *bufio.Reader
	journal  journal
	parser   parser
	done     []func()
	buses    []string
	last     int   // channel of the last frame
	shift    int64 // µs added to recorded times
	counts   Counts
	problems []Problem
	err      error
}

// Options say how to read a log. The zero Options suit most logs.
type Options struct {
	// Start, when set, is when the first frame was recorded; the others keep their distance to it.
	Start time.Time
	// Now, when set, is asked for the time of frames that have none, because they come as they are received: candump can0 |
	Now func() time.Time
}

// Open opens a log: candump, Vector ASC, PEAK TRC or SavvyCAN's CSV, plain, zstd or gzip, told by its
// content. For anything else the error is one line that names what it is and
// how to convert it.
func Open(path string) (*Reader, error) { return OpenContext(context.Background(), path) }

// OpenContext is Open for what may be a pipe, which may have no writer or a
// quiet one: when ctx ends, waiting ends with an error that wraps ctx.Err().
func OpenContext(ctx context.Context, path string) (*Reader, error) {
	return Options{}.Open(ctx, path)
}

// Open is OpenContext with options.
func (o Options) Open(ctx context.Context, path string) (*Reader, error) {
	name := filepath.Base(path)
	file, err := openFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	return o.read(ctx, file, name)
}

// Stdin is Open for standard input.
func (o Options) Stdin(ctx context.Context) (*Reader, error) {
	const name = "standard input"
	file, err := os.Open("/dev/stdin") // whose reads can be interrupted
	if err != nil {
		file = os.Stdin
	}
	return o.read(ctx, file, name)
}

// read reads from an open file until ctx ends, and closes it.
func (o Options) read(ctx context.Context, file *os.File, name string) (*Reader, error) {
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) }) // a regular file has none, and is never waited for
	done := func() { stop(); file.Close() }
	if info, err := file.Stat(); err == nil && info.IsDir() {
		done()
		return nil, fmt.Errorf("%s is a folder; want a log file", name)
	}
	r, err := o.NewReader(name, source{file, ctx.Err})
	if err != nil {
		done()
		return nil, err
	}
	r.done = append(r.done, done)
	return r, nil
}

// openFile opens a file, and gives up when ctx ends. Opening a pipe without a
// writer cannot be interrupted, so that it is then left behind.
func openFile(ctx context.Context, path string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		file, err := os.Open(path)
		opened <- result{file, err}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// source is a file whose errors are those of ended, once there is one.
type source struct {
	file  *os.File
	ended func() error
}

func (s source) Read(p []byte) (int, error) {
	n, err := s.file.Read(p)
	if ended := s.ended(); err != nil && ended != nil {
		err = ended
	}
	return n, err
}

// cause strips operation and path.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// NewReader is Open for something that is no file, such as standard input; name stands in errors.
func NewReader(name string, in io.Reader) (*Reader, error) { return Options{}.NewReader(name, in) }

// NewReader is NewReader with options. It returns as soon as the format is known.
func (o Options) NewReader(name string, in io.Reader) (*Reader, error) {
	raw := bufio.NewReaderSize(in, 64<<10)
	head, err := raw.Peek(8)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	plain, done, err := unpack(raw, head, name)
	if err != nil {
		return nil, err
	}
	r := &Reader{options: o, name: name, in: bufio.NewReaderSize(plain, headBytes), done: []func(){done}}
	r.journal.given = !o.Start.IsZero()
	head, err = r.recognize()
	if err != nil {
		done()
		return nil, err
	}
	r.parser = o.parser(r.format, head, &r.journal)
	return r, nil
}

// recognize finds out the format from as little of the log as shows it, and gives what has been looked at.
func (r *Reader) recognize() (head []byte, err error) {
	for {
		var damage error
		if head, damage = r.more(len(head)); damage != nil && damage != io.EOF && len(head) == 0 {
			return nil, cutOff(r.name, damage)
		}
		last := damage != nil || len(head) >= headBytes-len(byteOrderMark)
		whole := head
		if !last { // a line that is still being written may look like another kind
			whole = head[:bytes.LastIndexByte(head, '\n')+1]
		}
		refused := named(head, r.name)
		if refused == nil {
			r.format = r.options.recognize(whole)
		}
		switch {
		case r.format != "":
			return whole, nil
		case !last && refused == nil:
		case damage != nil && damage != io.EOF:
			return nil, cutOff(r.name, damage)
		case refused != nil:
			return nil, refused
		default:
			return nil, unknown(head, r.name)
		}
	}
}

// more waits for more than seen bytes of the head, and gives all that are there; a byte order mark in front is dropped.
func (r *Reader) more(seen int) (head []byte, err error) {
	_, err = r.in.Peek(seen + 1)
	head, _ = r.in.Peek(r.in.Buffered())
	if mark := len(byteOrderMark); seen == 0 && bytes.HasPrefix(head, []byte(byteOrderMark)) {
		head = head[mark:]
		_, _ = r.in.Discard(mark) // it has been seen
	}
	return head, err
}

// parser makes the parser of a format.
func (o Options) parser(format Format, head []byte, j *journal) parser {
	switch format {
	case CandumpView:
		return &candumpView{now: o.Now}
	case ASC:
		a := newASC(j)
		a.look(head)
		return a
	case TRC:
		return newTRC(j)
	case GVRET:
		return &gvret{}
	}
	return candumpLog{}
}

// cutOff is the error of a log that ends before its time, before its first line does.
func cutOff(name string, err error) error {
	return fmt.Errorf("%s is cut off or damaged: %w", name, cause(err))
}

// Close releases the file.
func (r *Reader) Close() error {
	for _, done := range r.done {
		done()
	}
	r.done, r.err = nil, fs.ErrClosed
	return nil
}

// Format gives the form of the log.
func (r *Reader) Format() Format { return r.format }

// Buses gives the names of the buses seen so far, in the order of their first frames. The caller must not change it.
func (r *Reader) Buses() []string { return r.buses }

// Counts gives the counters so far.
func (r *Reader) Counts() Counts { return r.counts }

// Problems describes the first bad lines; Counts has the number of all.
func (r *Reader) Problems() []Problem { return slices.Clone(r.problems) }

// Warnings tell about lines that were read, but may mean something else than the user expects.
func (r *Reader) Warnings() (list []Problem) {
	for _, w := range r.journal.warnings {
		list = append(list, Problem{File: r.name, Line: w.line, Expected: w.text})
	}
	return list
}

// Next fills frames with the next ones of the log and gives their number: not
// all that fit when the log is a pipe and the next line has not come. At the
// end it gives io.EOF; frames that came before an error are given first. A log
// without a single frame is an error, and so is one that is cut off.
func (r *Reader) Next(frames []Recorded) (n int, err error) {
	for n < len(frames) && r.err == nil && (n == 0 || r.ready()) {
		line, err := r.line()
		if err != nil {
			r.err = r.end(err)
			break
		}
		if line != nil && r.parse(line, &frames[n]) {
			n++
		}
	}
	if n > 0 || len(frames) == 0 {
		return n, nil
	}
	return 0, r.err
}

// ready says whether the next line is there, so that nobody has to wait for it.
func (r *Reader) ready() bool {
	buffered := r.in.Buffered()
	if buffered > maxLine {
		return true
	}
	rest, _ := r.in.Peek(buffered)
	return bytes.IndexByte(rest, '\n') >= 0
}

// line gives the next line, or nil for one that is too long and has been counted as bad.
func (r *Reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err == nil || err == io.EOF && len(line) > 0 {
		r.counts.Lines++
		if len(line) > maxLine {
			r.bad(&can.SyntaxError{Column: maxLine, Expected: "the end of the line"})
			return nil, nil
		}
		return line, nil
	}
	if err != bufio.ErrBufferFull {
		return nil, err
	}
	for err == bufio.ErrBufferFull {
		_, err = r.in.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	r.counts.Lines++
	r.bad(&can.SyntaxError{Column: maxLine, Expected: "the end of the line"})
	return nil, nil
}

// end turns the error of the last read into what Next gives.
func (r *Reader) end(err error) error {
	switch {
	case err != io.EOF:
		return fmt.Errorf("%s is cut off or damaged behind line %d: %w", r.name, r.counts.Lines, cause(err))
	case r.counts.Frames == 0 && len(r.problems) > 0:
		return fmt.Errorf("%s has no frame in %d lines; %s", r.name, r.counts.Lines, r.problems[0])
	case r.counts.Frames == 0:
		return fmt.Errorf("%s has no frame in %d lines", r.name, r.counts.Lines)
	}
	return io.EOF
}

// parse reads one line and says whether it was a frame.
func (r *Reader) parse(line []byte, f *Recorded) bool {
	r.journal.line = r.counts.Lines
	kind, bus, err := r.parser.parse(line, &f.Frame)
	switch {
	case err != nil:
		r.reject(err)
		return false
	case kind != lineFrame:
		r.counts.Other++
		return false
	case r.counts.Frames == 0 && r.journal.given:
		r.shift = r.options.Start.UnixMicro() - f.Time
	}
	if f.Time += r.shift; f.Time < 0 || f.Time > latest {
		r.bad(errOutside)
		return false
	}
	return r.accept(bus, f)
}

// reject counts a bad line, and ends the log where going on would give wrong frames.
func (r *Reader) reject(err error) {
	r.bad(err)
	var refused *refusal
	if errors.As(err, &refused) {
		r.err = fmt.Errorf("%s:%d: %w", r.name, refused.line, refused)
	}
}

// errOutside is for times that no frame can have, such as one before the start of a log that has no date.
var errOutside = errors.New("column 1: expected a time from 1970 to 2262")

// accept numbers the frame and finds its bus.
func (r *Reader) accept(bus []byte, f *Recorded) bool {
	if len(r.buses) == 0 || r.buses[r.last] != string(bus) {
		r.last = slices.IndexFunc(r.buses, func(known string) bool { return known == string(bus) })
		if r.last < 0 && len(r.buses) == maxBuses {
			r.last = 0
			r.bad(fmt.Errorf("expected one of the %d buses so far", maxBuses))
			return false
		}
		if r.last < 0 {
			r.last = len(r.buses)
			r.buses = append(r.buses, string(bus))
		}
	}
	f.Bus, f.Channel, f.Index = r.buses[r.last], r.last, r.counts.Frames
	r.counts.Frames++
	return true
}

// bad counts the line just read.
func (r *Reader) bad(err error) {
	r.counts.Bad++
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{File: r.name, Line: r.counts.Lines, Expected: err.Error()})
	}
}
