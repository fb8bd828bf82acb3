package drive

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol/can"
)

// Format is a text form of logs.
type Format string

// The forms that Reader reads.
const (
	Candump     Format = "candump"
	CandumpView Format = "candump on the screen"
	ASC         Format = "asc"
	TRC         Format = "trc"
	GVRET       Format = "gvret"
)

// parser reads one line of a log into f. For a frame it gives the bus, which
// the next call may overwrite. A *refusal ends the log, another error counts
// the line as bad; f is then unspecified.
type parser interface {
	parse(line []byte, f *can.Frame) (kind lineKind, bus []byte, err error)
}

const (
	// headBytes of the unpacked log decide on its format.
	headBytes = 256 << 10
	// maxWindow bounds the memory of unpacking; zstd --long=27 and below fit.
	maxWindow = 128 << 20
)

// magic names a kind of file by how it starts, and says what to do with it.
type magic struct {
	start  string
	advice string
}

// packed are the compressions that are not unpacked here.
var packed = []magic{
	{"\xFD7zXZ\x00", "is packed with xz; unpack it first: xz -d"},
	{"BZh", "is packed with bzip2; unpack it first: bunzip2"},
	{"\x04\x22\x4D\x18", "is packed with lz4; unpack it first: lz4 -d"},
	{"PK\x03\x04", "is a zip archive; unpack it first: unzip"},
	{"7z\xBC\xAF\x27\x1C", "is a 7-zip archive; unpack it first: 7z x"},
}

// exampleLine is what a candump log looks like.
const exampleLine = "(1627274455.012500) can0 7E8#0341"

// Converters that write candump or ASC.
const (
	byPythonCAN = "convert it with python-can: can_logconvert %s drive.log"
	byAsammdf   = "convert it with asammdf (export to ASC), https://github.com/danielhrisca/asammdf"
	bySavvyCAN  = "convert it with SavvyCAN (save as CanDump log), https://github.com/collin80/SavvyCAN"
)

// foreign are the known formats that are not read here.
var foreign = []magic{
	{"LOGG", "is a Vector BLF file; " + byPythonCAN},
	{"MDF     ", "is an ASAM MDF (MF4) file; " + byAsammdf},
	{"UnFinMF ", "is an unfinished ASAM MDF (MF4) file; " + byAsammdf},
	{"\xD4\xC3\xB2\xA1", "is a pcap capture; " + bySavvyCAN},
	{"\xA1\xB2\xC3\xD4", "is a pcap capture; " + bySavvyCAN},
	{"\x4D\x3C\xB2\xA1", "is a pcap capture; " + bySavvyCAN},
	{"\xA1\xB2\x3C\x4D", "is a pcap capture; " + bySavvyCAN},
	{"\x0A\x0D\x0D\x0A", "is a pcapng capture; " + bySavvyCAN},
	{"***BUSMASTER", "is a BUSMASTER log; convert it to ASC with BUSMASTER's log converter"},
	{"SQLite format 3\x00", "is an SQLite database; if python-can wrote it: can_logconvert %s drive.log"},
	{"#ROSBAG", "is a ROS bag; export its CAN topic as a candump log"},
	{"PAR1", "is a Parquet file; it holds samples or tables, not a candump or ASC log"},
	{"\x89HDF", "is an HDF5 or MATLAB file; " + byAsammdf},
	{"MATLAB 5.0 MAT-file", "is a MATLAB file; " + byAsammdf},
	{"{", "is JSON; write its frames as candump lines, such as " + exampleLine},
	{"[", "is JSON; write its frames as candump lines, such as " + exampleLine},
}

// unpack gives the plain bytes behind in, and what to call when done.
func unpack(in io.Reader, head []byte, name string) (plain io.Reader, done func(), err error) {
	switch {
	case bytes.HasPrefix(head, []byte("\x28\xB5\x2F\xFD")):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: zstd: %w", name, err)
		}
		return d, d.Close, nil
	case bytes.HasPrefix(head, []byte("\x1F\x8B")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, cutOff(name, err)
		}
		return z, func() { z.Close() }, nil
	}
	for _, m := range packed {
		if bytes.HasPrefix(head, []byte(m.start)) {
			return nil, nil, fmt.Errorf("%s %s", name, m.advice)
		}
	}
	return in, func() {}, nil
}

// named refuses what starts as a known format that is not read here.
func named(head []byte, name string) error {
	for _, m := range foreign {
		if bytes.HasPrefix(head, []byte(m.start)) {
			return errors.New(name + " " + fill(m.advice, name))
		}
	}
	return nil
}

// recognize tells the format from the first line that only one format has; "" if there is none.
func (o Options) recognize(head []byte) Format {
	var f can.Frame
	a, old := newASC(&journal{}), newTRC(&journal{})
	for line := range bytes.Lines(head) {
		if _, err := can.ParseCandump(line, &f); err == nil {
			return Candump
		}
		if _, times, err := parseView(line, &f); err == nil && (times == viewAbsolute || o.Now != nil) {
			return CandumpView
		}
		var refused *refusal
		kind, _, err := a.parse(line, &f)
		if err == nil && kind != lineOther || errors.As(err, &refused) {
			return ASC
		}
		if kind, _, err := old.parse(line, &f); err == nil && kind == lineFrame || isTRC(line) || bytes.HasPrefix(line, []byte(trcVersion)) {
			return TRC
		}
		if isGVRET(line) {
			return GVRET
		}
	}
	return ""
}

// unknown is the error for a log of no format that is read here.
func unknown(head []byte, name string) error {
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		return fmt.Errorf("%s is empty", name)
	case bytes.IndexByte(head, 0) >= 0:
		return fmt.Errorf("%s is binary and of no known kind; want a candump (candump -l) or Vector ASC log, plain, zstd or gzip", name)
	case isTable(head):
		return fmt.Errorf("%s is a CSV file, but not SavvyCAN's; "+byPythonCAN+" (python-can's own CSV), or with SavvyCAN for others", name, name)
	}
	var f can.Frame
	for line := range bytes.Lines(head) {
		switch _, times, err := parseView(line, &f); {
		case err == nil && times == viewRelative:
			return fmt.Errorf("%s is what candump -td or -tz shows on the screen: its times do not say when it was recorded; "+
				"record with candump -l, or show the time with candump -ta or -tA", name)
		case err == nil:
			return fmt.Errorf("%s is what candump shows on the screen; record with candump -l (or -L), or show the time with -ta or -tA: this has none", name)
		}
	}
	return fmt.Errorf("%s is no log that telltale reads: no line is candump (%q), Vector ASC (%q), PEAK TRC or SavvyCAN CSV",
		name, exampleLine, "0.012500 1 7E8 Rx d 2 03 41")
}

// isTable says whether the first two lines have the same number of separators, at least 3.
func isTable(head []byte) bool {
	first, rest, _ := bytes.Cut(bytes.TrimSpace(head), []byte{'\n'})
	second, _, _ := bytes.Cut(rest, []byte{'\n'})
	for _, separator := range []byte{',', ';', '\t'} {
		if n := bytes.Count(first, []byte{separator}); n >= 3 && n == bytes.Count(second, []byte{separator}) {
			return true
		}
	}
	return false
}

// fill puts the name of the file into an advice that has a place for it.
func fill(advice, name string) string {
	return string(bytes.ReplaceAll([]byte(advice), []byte("%s"), []byte(name)))
}

// isTRC says whether line is a message of a PEAK TRC file, whose oldest forms have no header: 1)  1841  0001  8  00 …
func isTRC(line []byte) bool {
	fields := bytes.Fields(line)
	if len(fields) < 4 {
		return false
	}
	number, found := bytes.CutSuffix(fields[0], []byte{')'})
	return found && len(bytes.Trim(number, "0123456789")) == 0 && len(bytes.Trim(fields[1], "0123456789.")) == 0
}
