package drive

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"telltale.dev/protocol/can"
)

// Vector's ASC form (CAN_Log… "ASCII logging format"), one event a line:
//
//	date Sat Sep 30 03:06:13.191 pm 2017
//	base hex  timestamps absolute
//	   2.501000 1  6F8   Rx d 8 FF 00 0C FE 00 00 00 00  Length = 239910 BitCount = 124 ID = 1784
//	   2.502000 1  18EBFF00x  Tx d 2 01 A0               29-bit identifier
//	   2.503000 2  200   Rx r 8                          remote frame
//	   2.504000 1  ErrorFrame
//	   2.505000 CANFD 1 Rx 7d [Name] 1 0 9 12 00 … 0B  104812 132 323000 a800f6c9   brs, esi, dlc, length, data, duration, bits, flags
//
// Dates have no time zone; they are taken as UTC. Channel n is bus can(n−1), as can-utils has it.
type asc struct {
	decimal  bool  // base dec: identifiers and data of classic frames
	relative bool  // each time counts from the event before
	dated    bool  // start comes from a date line
	start    int64 // µs since the Unix epoch
	last     int64 // µs since start, of the last event
}

// ascEvent is the kind of a line.
type ascEvent int

const (
	ascOther  ascEvent = iota // blank, comment, trigger, statistics, other buses, …
	ascHeader                 // date or base
	ascFrame
)

// Bits of the flags column of CANFD lines.
const (
	ascRemote = 0x10
	ascFD     = 0x1000
)

// latest is the last time that a frame may have, in µs since the Unix epoch.
const latest = can.MaxSeconds * 1_000_000

// maxChannel bounds ASC's channel numbers, which start at 1.
const maxChannel = 255

// busError is the error class of an error frame of which nothing is known, with Linux' length of error frames (linux/can/error.h).
const (
	busError       can.ID = 0x80
	busErrorLength uint8  = 8
)

func newASC() *asc { return &asc{} }

// appendBus names the bus of a channel.
func appendBus(dst []byte, channel int) []byte {
	return strconv.AppendInt(append(dst, "can"...), int64(channel-1), 10)
}

// parse reads one line. For a frame it gives the channel, from 1.
func (a *asc) parse(line []byte, f *can.Frame) (event ascEvent, channel int, err error) {
	w := words{line: bytes.TrimRight(line, "\r\n")}
	word := w.next()
	if len(word) == 0 || bytes.HasPrefix(word, []byte("//")) {
		return ascOther, 0, nil
	}
	if word[0] < '0' || word[0] > '9' {
		event, err = a.header(&w, word)
		return event, 0, err
	}
	t, ok := seconds(word)
	if !ok {
		return ascOther, 0, w.fail("a time in seconds such as 2.501000")
	}
	if a.relative {
		t += a.last
	}
	if t > latest-a.start {
		return ascOther, 0, w.fail("a time up to the year 2262")
	}
	word = w.next()
	if len(word) == 0 {
		return ascOther, 0, w.fail("an event behind the time")
	}
	switch {
	case '0' <= word[0] && word[0] <= '9':
		event, channel, err = a.classic(&w, word, f)
	case equalFold(word, "CANFD"):
		event, channel, err = a.flexible(&w, f)
	case equalFold(word, "CANXL"):
		err = w.fail("a classic or CAN FD frame; CAN XL is not supported")
	}
	a.last = t
	f.Time = a.start + t
	return event, channel, err
}

// header reads a line that does not start with a time.
func (a *asc) header(w *words, word []byte) (ascEvent, error) {
	switch key := strings.ToLower(string(word)); key {
	case "date":
		start, ok := date(strings.Fields(string(w.line[w.pos:])))
		if !ok {
			return ascOther, w.fail("a date from 1970 to 2262 such as: date Sat Sep 30 03:06:13.191 pm 2017")
		}
		a.start, a.last, a.dated = start, 0, true
		return ascHeader, nil
	case "base":
		return a.base(w)
	case "begin":
		w.next() // Triggerblock
		if start, ok := date(strings.Fields(string(w.line[w.pos:]))); ok && !a.dated {
			a.start, a.dated = start, true
		}
		return ascOther, nil
	case "end", "internal", "no", "start", "split", "previous":
		return ascOther, nil
	}
	return ascOther, w.fail("a time, or a header line such as date, base or Begin Triggerblock")
}

// base reads "base hex  timestamps absolute".
func (a *asc) base(w *words) (ascEvent, error) {
	switch word := w.next(); {
	case equalFold(word, "hex"):
		a.decimal = false
	case equalFold(word, "dec"):
		a.decimal = true
	default:
		return ascOther, w.fail("hex or dec")
	}
	if word := w.next(); len(word) == 0 {
		return ascHeader, nil
	} else if !equalFold(word, "timestamps") {
		return ascOther, w.fail("timestamps absolute or timestamps relative")
	}
	switch word := w.next(); {
	case equalFold(word, "absolute"):
		a.relative = false
	case equalFold(word, "relative"):
		a.relative = true
	default:
		return ascOther, w.fail("absolute or relative")
	}
	return ascHeader, nil
}

// classic reads what follows the time when that is a channel number.
func (a *asc) classic(w *words, word []byte, f *can.Frame) (ascEvent, int, error) {
	channel, err := readChannel(w, word)
	if err != nil {
		return ascOther, 0, err
	}
	word = w.next()
	switch {
	case equalFold(word, "ErrorFrame"):
		setError(f)
		return ascFrame, channel, nil
	case equalFold(word, "Statistic:"), equalFold(word, "J1939TP"), equalFold(word, "OverloadFrame"):
		return ascOther, 0, nil
	}
	if f.ID, err = a.identifier(w, word); err != nil {
		return ascOther, 0, err
	}
	if event, err := direction(w); event != ascFrame {
		return event, 0, err
	}
	f.Flags, f.Len, f.Data = 0, 0, [can.MaxData]byte{}
	switch word = w.next(); {
	case equalFold(word, "r"):
		f.Flags = can.Remote
		if n, ok := number(w.next(), 16, 15); ok {
			f.Len = uint8(min(n, can.MaxClassic))
		}
		return ascFrame, channel, nil
	case !equalFold(word, "d"):
		return ascOther, 0, w.fail("d (data) or r (remote)")
	}
	n, ok := number(w.next(), 16, 15)
	if !ok {
		return ascOther, 0, w.fail("a data length code of 0 to F")
	}
	return ascFrame, channel, a.data(w, f, min(n, can.MaxClassic))
}

// flexible reads what follows CANFD: channel, direction, identifier, name, flags, lengths, data and more.
func (a *asc) flexible(w *words, f *can.Frame) (ascEvent, int, error) {
	channel, err := readChannel(w, w.next())
	if err != nil {
		return ascOther, 0, err
	}
	if event, err := direction(w); event != ascFrame {
		return event, 0, err
	}
	word := w.next()
	if equalFold(word, "ErrorFrame") {
		setError(f)
		return ascFrame, channel, nil
	}
	if f.ID, err = a.identifier(w, word); err != nil {
		return ascOther, 0, err
	}
	f.Flags, f.Data = can.FD, [can.MaxData]byte{}
	dlc, n, err := lengths(w, f)
	if err != nil {
		return ascOther, 0, err
	}
	if err := a.data(w, f, n); err != nil {
		return ascOther, 0, err
	}
	w.next() // duration
	w.next() // number of bits
	if flags, ok := number(w.next(), 16, 1<<32-1); ok && flags&ascFD == 0 && n <= can.MaxClassic {
		f.Flags = 0 // a classic frame on a CAN FD channel
		if flags&ascRemote != 0 {
			f.Flags, f.Len, f.Data = can.Remote, uint8(min(dlc, can.MaxClassic)), [can.MaxData]byte{}
		}
	}
	return ascFrame, channel, nil
}

// lengths reads name (which may be missing), bit rate switch, error state, data length code and number of bytes.
func lengths(w *words, f *can.Frame) (dlc, n int, err error) {
	word := w.next()
	if !isBit(word) {
		word = w.next() // that was the name of the message
	}
	if !bit(word, can.BRS, f) {
		return 0, 0, w.fail("0 or 1 for the bit rate switch")
	}
	if !bit(w.next(), can.ESI, f) {
		return 0, 0, w.fail("0 or 1 for the error state indicator")
	}
	dlc, ok := codeOfLength(w.next())
	if !ok {
		return 0, 0, w.fail("a data length code of 0 to F")
	}
	n, ok = number(w.next(), 10, can.MaxData)
	if !ok || !can.ValidLength(n) {
		return 0, 0, w.fail("0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes of data")
	}
	return dlc, n, nil
}

// data reads n bytes.
func (a *asc) data(w *words, f *can.Frame, n int) error {
	base := 16
	if a.decimal {
		base = 10
	}
	for i := range n {
		v, ok := number(w.next(), base, 255)
		if !ok {
			return w.fail(fmt.Sprintf("byte %d of %d of the data, in %s", i+1, n, a.digits()))
		}
		f.Data[i] = byte(v)
	}
	f.Len = uint8(n)
	return nil
}

func (a *asc) digits() string {
	if a.decimal {
		return "decimal digits"
	}
	return "hexadecimal digits"
}

// identifier reads 123 or 18FEF100x.
func (a *asc) identifier(w *words, word []byte) (can.ID, error) {
	most, mark, base := uint64(can.StandardMask), can.ID(0), 16
	if n := len(word); n > 1 && (word[n-1] == 'x' || word[n-1] == 'X') {
		word, most, mark = word[:n-1], uint64(can.ExtendedMask), can.Extended
	}
	if a.decimal {
		base = 10
	}
	v, ok := number(word, base, most)
	if !ok {
		return 0, w.fail("an identifier of 11 bits, or of 29 with x behind it, in " + a.digits())
	}
	return can.ID(v) | mark, nil
}

func setError(f *can.Frame) {
	f.ID, f.Flags, f.Len, f.Data = busError, can.Error, busErrorLength, [can.MaxData]byte{}
}

// direction accepts Rx and Tx. TxRq is only the wish to send; the frame itself has a line of its own.
func direction(w *words) (ascEvent, error) {
	switch word := w.next(); {
	case equalFold(word, "Rx"), equalFold(word, "Tx"):
		return ascFrame, nil
	case equalFold(word, "TxRq"):
		return ascOther, nil
	}
	return ascOther, w.fail("Rx or Tx")
}

func readChannel(w *words, word []byte) (int, error) {
	n, ok := number(word, 10, maxChannel)
	if !ok || n == 0 {
		return 0, w.fail(fmt.Sprintf("a channel of 1 to %d", maxChannel))
	}
	return n, nil
}

// codeOfLength reads a data length code: hexadecimal, but 10 to 15 as base dec writes them.
func codeOfLength(word []byte) (int, bool) {
	if len(word) == 2 && word[0] == '1' {
		return number(word, 10, 15)
	}
	return number(word, 16, 15)
}

// isBit says whether word is 0 or 1.
func isBit(word []byte) bool { return len(word) == 1 && (word[0] == '0' || word[0] == '1') }

// bit sets flag for 1 and leaves it for 0.
func bit(word []byte, flag can.Flags, f *can.Frame) bool {
	if !isBit(word) {
		return false
	}
	if word[0] == '1' {
		f.Flags |= flag
	}
	return true
}
