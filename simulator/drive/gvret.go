package drive

import (
	"bytes"
	"fmt"
	"strconv"

	"telltale.dev/protocol/can"
)

// gvret reads SavvyCAN's own form, which GVRET and other loggers write too:
//
//	Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8
//	166064000,0000021A,false,Rx,0,8,FE,36,12,FE,69,05,07,AD,
//
// Times are µs, since the logger was switched on or since 1970; identifiers and
// data are hexadecimal. The first version had no Dir. Bus n is can(n). More
// than 8 bytes are a CAN FD frame.
type gvret struct {
	directed bool // the column Dir is there
	bus      [8]byte
}

// gvretHeader is how the first line starts, and gvretDirected when the column Dir follows.
const (
	gvretHeader   = "time stamp,id,extended,"
	gvretDirected = gvretHeader + "dir,"
)

// isGVRET says whether line is the header.
func isGVRET(line []byte) bool {
	return bytes.HasPrefix(headerOf(line), []byte(gvretHeader))
}

// headerOf gives a header in lower case without blanks behind commas.
func headerOf(line []byte) []byte {
	return bytes.ReplaceAll(bytes.ToLower(bytes.TrimSpace(line)), []byte(", "), []byte(","))
}

func (g *gvret) parse(line []byte, f *can.Frame) (lineKind, []byte, error) {
	if len(bytes.TrimSpace(line)) == 0 {
		return lineOther, nil, nil
	}
	if isGVRET(line) {
		g.directed = bytes.HasPrefix(headerOf(line), []byte(gvretDirected))
		return lineHeader, nil, nil
	}
	row := fields{words{line: bytes.TrimRight(line, "\r\n")}}
	f.Flags, f.Len, f.Data = 0, 0, [can.MaxData]byte{}
	us, err := strconv.ParseInt(string(row.next()), 10, 64)
	if err != nil || us < 0 || us > latest {
		return lineOther, nil, row.fail("a time in µs")
	}
	f.Time = us
	if err := row.identifier(f); err != nil {
		return lineOther, nil, err
	}
	if g.directed {
		if word := row.next(); !equalFold(word, "Rx") && !equalFold(word, "Tx") {
			return lineOther, nil, row.fail("Rx or Tx")
		}
	}
	bus, ok := number(row.next(), 10, maxChannel)
	if !ok {
		return lineOther, nil, row.fail(fmt.Sprintf("a bus of 0 to %d", maxChannel))
	}
	if err := row.data(f); err != nil {
		return lineOther, nil, err
	}
	return lineFrame, strconv.AppendInt(append(g.bus[:0], "can"...), int64(bus), 10), nil
}

// fields walks over the fields of a line of comma-separated values without quotes.
type fields struct{ words }

// next gives the next field without blanks around it, empty at the end of the line.
func (s *fields) next() []byte {
	s.at = s.pos
	end := bytes.IndexByte(s.line[s.pos:], ',')
	if end < 0 {
		s.pos = len(s.line)
		return bytes.TrimSpace(s.line[s.at:])
	}
	s.pos += end + 1
	return bytes.TrimSpace(s.line[s.at : s.pos-1])
}

// identifier reads the fields ID and Extended.
func (s *fields) identifier(f *can.Frame) error {
	id, ok := number(hexadecimal(s.next()), 16, uint64(can.ExtendedMask))
	if !ok {
		return s.fail("an identifier in hexadecimal digits")
	}
	switch word := s.next(); {
	case equalFold(word, "true"), equalFold(word, "1"):
		f.ID = can.ID(id) | can.Extended
	case !equalFold(word, "false") && !equalFold(word, "0"):
		return s.fail("true or false for an identifier of 29 bits")
	case uint64(id) > uint64(can.StandardMask):
		return s.fail("true, as the identifier has more than 11 bits")
	default:
		f.ID = can.ID(id)
	}
	return nil
}

// data reads the field LEN and as many bytes.
func (s *fields) data(f *can.Frame) error {
	n, ok := number(s.next(), 10, can.MaxData)
	if !ok || !can.ValidLength(n) {
		return s.fail("0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes")
	}
	if n > can.MaxClassic {
		f.Flags = can.FD
	}
	for i := range n {
		v, ok := number(hexadecimal(s.next()), 16, 255)
		if !ok {
			return s.fail(fmt.Sprintf("byte %d of %d of the data, in hexadecimal digits", i+1, n))
		}
		f.Data[i] = byte(v)
	}
	f.Len = uint8(n)
	return nil
}

// hexadecimal cuts off the 0x in front that some loggers write.
func hexadecimal(word []byte) []byte {
	if len(word) > 2 && word[0] == '0' && word[1]|0x20 == 'x' {
		return word[2:]
	}
	return word
}
