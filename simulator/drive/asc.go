package drive

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol/can"
)

// Vector's ASC form ("CAN_LOG_TRIGGER ASC format"), one event a line:
//
//	date Sat Sep 30 03:06:13.191 pm 2017
//	base hex  timestamps absolute
//	Begin Triggerblock Sat Sep 30 03:06:14.500 pm 2017
//	   2.501000 1  6F8   Rx d 8 FF 00 0C FE 00 00 00 00  Length = 239910 BitCount = 124 ID = 1784
//	   2.502000 1  18EBFF00x  Tx d 2 01 A0               29-bit identifier
//	   2.503000 2  200   Rx r 8                          remote frame
//	   2.504000 1  Pump  Rx d 1 11  Length = 0 BitCount = 0 ID = 672    a name; ID is decimal, with x behind it for 29 bits
//	   2.505000 1  ErrorFrame
//	   2.506000 CANFD 1 Rx 7d [Name] 1 0 9 12 00 … 0B  104812 132 323000 a800f6c9   brs, esi, dlc, length, data, duration, bits, flags
//	   2.507000 CANFD 1 7d Rx 1 0 d 9 12 00 … 0B  Length = 0 BitCount = 0 ID = 125   before version 8.1; r instead of d: remote
//	End TriggerBlock
//
// Times count from the date of their block, or from the header's where the
// block has none; relative ones from the event before in the same block. Dates
// have no time zone; they are taken as UTC. Channel n is bus can(n−1), as
// can-utils has it; but in a log that has a channel 0, as SavvyCAN writes
// them, channel n is can(n).
type asc struct {
	*journal
	decimal   bool // base dec: identifiers and data
	relative  bool // each time counts from the event before
	named     bool // names have stood in the column of identifiers
	fromZero  bool // channels start at 0
	zeros     int  // frames of channel 0
	channels  int  // frames of all channels
	header    instant
	start     instant // of the block
	origin    instant // start of the first frame
	last      int64   // µs since start, of the last event
	lastKnown bool    // a frame has been read, and origin is known
	bus       [8]byte
}

// lineKind is what a line is.
type lineKind int

const (
	lineOther  lineKind = iota // blank, comment, trigger, statistics, other buses, …
	lineHeader                 // says how the others are to be read
	lineFrame
)

// Bits of the flags column of CANFD lines.
const (
	ascRemote = 0x10
	ascFD     = 0x1000
)

// latest is the last time that a frame may have, in µs since the Unix epoch.
const latest = can.MaxSeconds * 1_000_000

// maxChannel bounds ASC's channel numbers.
const maxChannel = 255

// busError is the error class of an error frame of which nothing is known, with Linux' length of error frames (linux/can/error.h).
const (
	busError       can.ID = 0x80
	busErrorLength uint8  = 8
)

func newASC(j *journal) *asc { return &asc{journal: j} }

// look finds out from the head of the log whether channels start at 0: the
// first frame has that channel, or several have. A single line may be damaged.
func (a *asc) look(head []byte) {
	probe := newASC(&journal{given: true})
	probe.fromZero = true
	var f can.Frame
	for line := range bytes.Lines(head) {
		if kind, _, err := probe.parse(line, &f); err == nil && kind == lineFrame && probe.channels == 1 && probe.zeros == 1 {
			a.fromZero = true
		}
	}
	a.fromZero = a.fromZero || probe.zeros > 1
}

// parse reads one line. For a frame it gives the bus, which the next call overwrites.
func (a *asc) parse(line []byte, f *can.Frame) (kind lineKind, bus []byte, err error) {
	w := words{line: bytes.TrimRight(line, "\r\n")}
	word := w.next()
	if len(word) == 0 || bytes.HasPrefix(word, []byte("//")) {
		return lineOther, nil, nil
	}
	if !isDigit(word) && !(word[0] == '-' && isDigit(word[1:])) {
		kind, err = a.headline(&w, word)
		return kind, nil, err
	}
	t, err := a.time(&w, word)
	if err != nil {
		return lineOther, nil, err
	}
	kind, channel, err := a.event(&w, f)
	a.last = t
	if err != nil || kind != lineFrame {
		return kind, nil, err
	}
	if !a.lastKnown {
		a.origin, a.lastKnown = a.start, true
	}
	if r := a.outside(a.start, a.origin); r != nil {
		return lineOther, nil, r
	}
	f.Time = a.start.at + t
	return lineFrame, a.busOf(channel), nil
}

// time reads the time of an event, in µs since the start of the block.
func (a *asc) time(w *words, word []byte) (int64, error) {
	t, ok := seconds(word)
	if !ok {
		return 0, w.fail("a time in seconds such as 2.501000")
	}
	if a.relative {
		t += a.last
	}
	if t > latest-a.start.at || t < -latest {
		return 0, w.fail("a time up to the year 2262")
	}
	return t, nil
}

// event reads what stands behind the time.
func (a *asc) event(w *words, f *can.Frame) (kind lineKind, channel int, err error) {
	word := w.next()
	switch {
	case len(word) == 0:
		return lineOther, 0, w.fail("an event behind the time")
	case isDigit(word):
		return a.classic(w, word, f)
	case equalFold(word, "CANFD"):
		return a.flexible(w, f)
	case equalFold(word, "CANXL"):
		return lineOther, 0, w.fail("a classic or CAN FD frame; CAN XL is not supported")
	}
	return lineOther, 0, nil
}

// busOf names the bus of a channel.
func (a *asc) busOf(channel int) []byte {
	a.channels++
	if channel == 0 {
		a.zeros++
		a.fromZero = true
	}
	if !a.fromZero {
		channel--
	}
	return strconv.AppendInt(append(a.bus[:0], "can"...), int64(channel), 10)
}

// headline reads a line that does not start with a time.
func (a *asc) headline(w *words, word []byte) (lineKind, error) {
	switch key := strings.ToLower(string(word)); key {
	case "date":
		a.header = a.instant(w.line[w.pos:])
		a.start, a.last = a.header, 0
		if !a.header.known && !(a.given && a.header.words != "") {
			return lineOther, w.fail(expectedDate)
		}
		return lineHeader, nil
	case "base":
		return a.base(w)
	case "begin":
		w.next() // Triggerblock
		return lineOther, a.begin(w)
	case "end", "internal", "no", "start", "split", "previous":
		return lineOther, nil
	}
	return lineOther, w.fail("a time, or a header line such as date, base or Begin Triggerblock")
}

// begin reads the date behind Begin Triggerblock, from which the times of the block count.
func (a *asc) begin(w *words) error {
	began := a.instant(w.line[w.pos:])
	a.start, a.last = began, 0
	switch {
	case began.words == "":
		a.start = a.header
	case began.unread() && !a.given:
		return w.fail(expectedDate)
	case began.known && a.header.known && !a.lastKnown:
		if apart := time.Duration(began.at-a.header.at) * time.Microsecond; apart.Abs() > differ {
			a.warn(fmt.Sprintf("the times count from the block's date %s; the header has another, %s", stamp(began.at), stamp(a.header.at)))
		}
	}
	return nil
}

// base reads "base hex  timestamps absolute", and BUSMASTER's "base hex  no internal events logged".
func (a *asc) base(w *words) (lineKind, error) {
	switch word := w.next(); {
	case equalFold(word, "hex"):
		a.decimal = false
	case equalFold(word, "dec"):
		a.decimal = true
	default:
		return lineOther, w.fail("hex or dec")
	}
	switch word := w.next(); {
	case len(word) == 0, equalFold(word, "no"), equalFold(word, "internal"):
		return lineHeader, nil
	case !equalFold(word, "timestamps"):
		return lineOther, w.fail("timestamps absolute or timestamps relative")
	}
	switch word := w.next(); {
	case equalFold(word, "absolute"):
		a.relative = false
	case equalFold(word, "relative"):
		a.relative = true
	default:
		return lineOther, w.fail("absolute or relative")
	}
	return lineHeader, nil
}
