package drive

import (
	"bytes"
	"time"

	"telltale.dev/protocol/can"
)

// candumpLog reads the log form of candump -l and -L; see can.ParseCandump.
type candumpLog struct{}

func (candumpLog) parse(line []byte, f *can.Frame) (lineKind, []byte, error) {
	bus, err := can.ParseCandump(line, f)
	if err != nil {
		if text := bytes.TrimSpace(line); len(text) == 0 || text[0] == '#' || text[0] == ';' {
			return lineOther, nil, nil
		}
	}
	return lineFrame, bus, err
}

// candumpView reads what candump shows on the screen (can-utils, candump.c and
// sprint_long_canframe of lib.c), with absolute times:
//
//	(1700000000.100000)  can0  0C9   [2]  01 02                     candump -ta
//	(2024-01-06 08:30:00.100000)  can0  0C9   [2]  01 02            candump -tA, taken as UTC
//	(1700000000.200000)  can0  RX - -  18FEF100   [2]  01 02        candump -ta -x
//	(1700000000.300000)  can0  RX B E  0C9  [12]  00 … 0B           CAN FD has two digits; B: bit rate switched, E: error passive
//	(1700000000.400000)  can0  0C9   [8]  remote request
//	(1700000000.500000)  can0  20000004   [8]  00 08 00 00 00 00 00 00   ERRORFRAME
//
// candump -td, -tz and no -t at all show no time at which anything was recorded.
type candumpView struct {
	now func() time.Time // when set, the time of frames that show none
}

// What stands in front of a frame on the screen instead of an absolute time.
const (
	viewAbsolute = iota
	viewRelative // since the first frame or the one before
	viewTimeless
)

// epochDigits is how many digits candump -ta gives seconds since 1970 at least; -td and -tz give 3.
const epochDigits = 10

func (v *candumpView) parse(line []byte, f *can.Frame) (lineKind, []byte, error) {
	text := bytes.TrimSpace(line)
	if len(text) == 0 || text[0] == '#' || line[0] == '\t' || bytes.HasPrefix(text, []byte("DROPCOUNT:")) { // -e explains errors behind a tab
		return lineOther, nil, nil
	}
	bus, times, err := parseView(line, f)
	switch {
	case err != nil:
		return lineOther, nil, err
	case times == viewAbsolute:
	case v.now == nil:
		return lineOther, nil, &can.SyntaxError{Column: 1, Expected: "a time since 1970 or a date, as candump -ta or -tA shows it"}
	default:
		f.Time = v.now().UnixMicro()
	}
	return lineFrame, bus, nil
}

// parseView reads one line of the screen.
func parseView(line []byte, f *can.Frame) (bus []byte, times int, err error) {
	w := words{line: line}
	word := w.next()
	times = viewTimeless
	if len(word) > 0 && word[0] == '(' {
		if f.Time, times, err = viewTime(&w, word); err != nil {
			return nil, 0, err
		}
		word = w.next()
	}
	if bus = word; len(bus) == 0 {
		return nil, 0, w.fail("the name of a bus")
	}
	f.Flags, f.Len, f.Data = 0, 0, [can.MaxData]byte{}
	word = w.next()
	extra := can.Flags(0)
	if equalFold(word, "RX") || equalFold(word, "TX") {
		if extra, err = viewFlags(&w); err != nil {
			return nil, 0, err
		}
		word = w.next()
	}
	if err = viewID(&w, word, f); err != nil {
		return nil, 0, err
	}
	return bus, times, viewBody(&w, f, extra)
}

// viewTime reads (1700000000.100000), (000.100000) or (2024-01-06 08:30:00.100000).
func viewTime(w *words, word []byte) (us int64, times int, err error) {
	if word[len(word)-1] != ')' { // a date, and the time of day is the next word
		start := w.at
		for word = w.next(); len(word) > 0 && word[len(word)-1] != ')'; {
			word = w.next()
		}
		us, ok := date(string(bytes.Trim(w.line[start:w.pos], "()")))
		if w.at = start; !ok {
			return 0, 0, w.fail("a time or a date in parentheses")
		}
		return us, viewAbsolute, nil
	}
	text := word[1 : len(word)-1]
	us, ok := seconds(text)
	if !ok || us < 0 {
		return 0, 0, w.fail("a time or a date in parentheses")
	}
	if bytes.IndexByte(text, '.') < epochDigits {
		return us, viewRelative, nil
	}
	return us, viewAbsolute, nil
}

// viewFlags reads the two signs behind RX or TX.
func viewFlags(w *words) (flags can.Flags, err error) {
	for _, sign := range []struct {
		letter string
		flag   can.Flags
	}{{"B", can.BRS}, {"E", can.ESI}} {
		switch word := w.next(); {
		case equalFold(word, sign.letter):
			flags |= sign.flag
		case !equalFold(word, "-"):
			return 0, w.fail(sign.letter + " or -")
		}
	}
	return flags, nil
}

// viewID reads 3 digits, or 8 of 29 bits or of an error class.
func viewID(w *words, word []byte, f *can.Frame) error {
	const errorBit = 1 << 29 // CAN_ERR_FLAG of linux/can.h
	most := uint64(can.StandardMask)
	if len(word) == 8 {
		most = uint64(errorBit | can.ExtendedMask)
	}
	id, ok := number(word, 16, most)
	switch {
	case !ok || len(word) != 3 && len(word) != 8:
		return w.fail("an identifier of 3 or 8 hexadecimal digits")
	case id&errorBit != 0:
		f.ID, f.Flags = can.ID(id&^errorBit), can.Error
	case len(word) == 8:
		f.ID = can.ID(id) | can.Extended
	default:
		f.ID = can.ID(id)
	}
	return nil
}

// viewBody reads the length in brackets and the data.
func viewBody(w *words, f *can.Frame, extra can.Flags) error {
	n, err := viewLength(w, f, extra)
	if err != nil {
		return err
	}
	f.Len = uint8(n)
	rest := *w
	if equalFold(rest.next(), "remote") && f.Flags == 0 {
		f.Flags = can.Remote
		return nil
	}
	for i := range n {
		word := w.next()
		v, ok := number(word, 16, 255)
		if !ok || len(word) != 2 {
			return w.fail("two hexadecimal digits for each of the bytes in brackets")
		}
		f.Data[i] = byte(v)
	}
	if _, more := number(w.next(), 16, 255); more {
		return w.fail("no more bytes than the brackets say")
	}
	return nil
}

// viewLength reads [8], [08] of CAN FD, which always has two digits, or the data length code {C} of 8 bytes.
func viewLength(w *words, f *can.Frame, extra can.Flags) (n int, err error) {
	word := w.next()
	inside, ok := between(word, '[', ']')
	most := can.MaxClassic
	switch code, braces := between(word, '{', '}'); {
	case braces && len(code) == 1:
		n, ok = number(code, 16, 15)
		n = min(n, most)
	case !ok || len(inside) < 1 || len(inside) > 2:
		return 0, w.fail("the number of bytes in brackets, such as [8]")
	case len(inside) == 2 && f.Flags == 0:
		f.Flags, most = can.FD|extra, can.MaxData
		fallthrough
	default:
		n, ok = number(inside, 10, uint64(most))
	}
	if !ok || !can.ValidLength(n) {
		return 0, w.fail("0 to 8 bytes, or 12, 16, 20, 24, 32, 48 or 64 of a CAN FD frame")
	}
	return n, nil
}

// between cuts off a first and a last letter.
func between(word []byte, first, last byte) ([]byte, bool) {
	if n := len(word); n > 1 && word[0] == first && word[n-1] == last {
		return word[1 : n-1], true
	}
	return nil, false
}
