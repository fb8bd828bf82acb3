package can

import "fmt"

// The log form of candump (can-utils, `candump -l`), one frame a line:
//
//	(1627274455.012500) can1 7E8#03412F8C00000000       classic, 11-bit identifier
//	(1627274455.012500) can1 18FEF100#F7000004 R        29-bit identifier, received
//	(1627274455.012500) can1 123##1DEADBEEF             CAN FD, flags 1: bit rate switched
//	(1627274455.012500) can1 123#000102030405060708090A0B  12 to 64 bytes are CAN FD too, as SavvyCAN writes it
//	(1627274455.012500) can1 123#R8                     remote frame that asks for 8 bytes
//	(1627274455.012500) can1 20000080#0000000000000000  error frame (linux/can/error.h)
//
// Our own canonical form, which AppendCandump writes, has six decimals, upper
// case digits, no direction and no comment.

// errorBit marks an error frame in the identifier (CAN_ERR_FLAG of linux/can.h).
const errorBit = 1 << 29

// The flag nibble of an FD frame (linux/can.h). candump sets candumpFD or not; both mean FD.
const (
	candumpBRS = 1
	candumpESI = 2
	candumpFD  = 4
)

// MaxSeconds bounds times in logs, so that they fit into int64 ns as those of the kernel do (year 2262).
const MaxSeconds = 1<<63/1_000_000_000 - 1

// SyntaxError says where a line stops being the form it should have.
type SyntaxError struct {
	Column   int    // from 1, in bytes
	Expected string // what should stand there
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("column %d: expected %s", e.Column, e.Expected)
}

// scanner walks over one line. It is a plain value and allocates only when it fails.
type scanner[T string | []byte] struct {
	line T
	pos  int
}

// ParseCandump reads one line of the candump log form into f, and gives the
// name of the bus as a part of line. Times are cut to µs. A line end, a
// direction (R or T) and a comment behind # or ; may follow the frame.
// The error is a *SyntaxError; f is then unspecified. It does not allocate.
func ParseCandump[T string | []byte](line T, f *Frame) (bus T, err error) {
	s := scanner[T]{line: line}
	s.spaces()
	f.Flags = 0
	if f.Time, err = s.time(); err != nil {
		return bus, err
	}
	if s.spaces() == 0 {
		return bus, s.fail("a space behind the time")
	}
	start := s.pos
	for s.pos < len(line) && !blank(line[s.pos]) {
		s.pos++
	}
	bus = line[start:s.pos]
	if len(bus) == 0 {
		return bus, s.fail("the name of a bus")
	}
	if s.spaces() == 0 {
		return bus, s.fail("a space and an identifier")
	}
	if err = s.identifier(f); err != nil {
		return bus, err
	}
	if err = s.body(f); err != nil {
		return bus, err
	}
	return bus, s.rest()
}

// at gives the byte d places ahead, or 0 behind the end.
func (s *scanner[T]) at(d int) byte {
	if s.pos+d < len(s.line) {
		return s.line[s.pos+d]
	}
	return 0
}

// spaces skips blanks and gives their number.
func (s *scanner[T]) spaces() int {
	start := s.pos
	for s.pos < len(s.line) && blank(s.line[s.pos]) {
		s.pos++
	}
	return s.pos - start
}

func (s *scanner[T]) fail(expected string) error {
	return &SyntaxError{Column: s.pos + 1, Expected: expected}
}

// time reads "(seconds.fraction)".
func (s *scanner[T]) time() (int64, error) {
	if s.at(0) != '(' {
		return 0, s.fail("a time in parentheses")
	}
	s.pos++
	first := s.pos
	var seconds, micros int64
	for ; digit(s.at(0)); s.pos++ {
		if seconds = seconds*10 + int64(s.at(0)-'0'); seconds > MaxSeconds {
			return 0, s.fail("a time up to the year 2262")
		}
	}
	if s.pos == first {
		return 0, s.fail("seconds in decimal digits")
	}
	if s.at(0) != '.' {
		return 0, s.fail("a point and a fraction of a second")
	}
	s.pos++
	first = s.pos
	for scale := int64(100_000); digit(s.at(0)); s.pos++ {
		micros += int64(s.at(0)-'0') * scale
		scale /= 10
	}
	if s.pos == first {
		return 0, s.fail("a fraction of a second")
	}
	if s.at(0) != ')' {
		return 0, s.fail("a closing parenthesis")
	}
	s.pos++
	return seconds*1_000_000 + micros, nil
}

// identifier reads 3 digits (11 bits) or 8 digits (29 bits or an error class).
func (s *scanner[T]) identifier(f *Frame) error {
	start, id := s.pos, uint32(0)
	for {
		v := nibble(s.at(0))
		if v < 0 || s.pos-start == 8 {
			break
		}
		id = id<<4 | uint32(v)
		s.pos++
	}
	digits := s.pos - start
	if s.at(0) != '#' {
		return s.fail("# behind an identifier of 3 or 8 hexadecimal digits")
	}
	switch {
	case digits == 3 && id <= uint32(StandardMask):
		f.ID = ID(id)
	case digits == 8 && id <= uint32(ExtendedMask):
		f.ID = ID(id) | Extended
	case digits == 8 && id&^errorBit <= uint32(ExtendedMask):
		f.ID, f.Flags = ID(id&^errorBit), Error
	default:
		s.pos = start
		return s.fail("an identifier of 3 digits up to 7FF or 8 digits up to 1FFFFFFF (3FFFFFFF for error frames)")
	}
	s.pos++
	return nil
}

// body reads what stands behind the first #.
func (s *scanner[T]) body(f *Frame) error {
	f.Len, f.Data = 0, [MaxData]byte{}
	switch c := s.at(0); {
	case c == '#':
		s.pos++
		return s.flexible(f)
	case c == 'R' || c == 'r':
		return s.remote(f)
	}
	start := s.pos
	if err := s.bytes(f, MaxData); err != nil {
		return err
	}
	if f.Len > MaxClassic {
		if f.Flags == 0 && ValidLength(int(f.Len)) {
			f.Flags = FD
			return nil
		}
		s.pos = start
		return s.bytes(f, MaxClassic) // fails at the ninth byte
	}
	return s.lengthCode(f)
}

// lengthCode accepts the DLC 9 to F of a classic frame of 8 bytes, behind a _. It carries no data.
func (s *scanner[T]) lengthCode(f *Frame) error {
	if s.at(0) != '_' {
		return nil
	}
	if f.Len != MaxClassic || nibble(s.at(1)) < 9 {
		return s.fail("_9 to _F behind 8 bytes")
	}
	s.pos += 2
	return nil
}

// flexible reads the flags and data of a CAN FD frame.
func (s *scanner[T]) flexible(f *Frame) error {
	if f.Flags&Error != 0 {
		s.pos--
		return s.fail("the data of an error frame, which is never CAN FD")
	}
	flags := nibble(s.at(0))
	if flags < 0 {
		return s.fail("the flags of a CAN FD frame, one hexadecimal digit")
	}
	if flags&^(candumpBRS|candumpESI|candumpFD) != 0 {
		return s.fail("CAN FD flags 0 to 7")
	}
	f.Flags = FD
	if flags&candumpBRS != 0 {
		f.Flags |= BRS
	}
	if flags&candumpESI != 0 {
		f.Flags |= ESI
	}
	s.pos++
	if err := s.bytes(f, MaxData); err != nil {
		return err
	}
	if !ValidLength(int(f.Len)) {
		return s.fail("0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes of CAN FD data")
	}
	return nil
}

// remote reads R and the requested length, which may be left out.
func (s *scanner[T]) remote(f *Frame) error {
	if f.Flags&Error != 0 {
		return s.fail("the data of an error frame, which is never remote")
	}
	f.Flags = Remote
	s.pos++
	if c := s.at(0); digit(c) {
		if c > '0'+MaxClassic {
			return s.fail("a requested length of 0 to 8")
		}
		f.Len = c - '0'
		s.pos++
	}
	return s.lengthCode(f)
}

// bytes reads pairs of hexadecimal digits, at most most; points between them are allowed, as candump reads them.
func (s *scanner[T]) bytes(f *Frame, most int) error {
	line, pos, n := s.line, s.pos, 0
	for pos+1 < len(line) {
		hi, lo := nibble(line[pos]), nibble(line[pos+1])
		if hi|lo < 0 {
			break
		}
		if n == most {
			s.pos = pos
			return s.fail(fmt.Sprintf("at most %d bytes of data, or as many as CAN FD frames have", most))
		}
		f.Data[n] = byte(hi<<4 | lo)
		n++
		pos += 2
		if pos+1 < len(line) && line[pos] == '.' && nibble(line[pos+1]) >= 0 {
			pos++
		}
	}
	s.pos, f.Len = pos, uint8(n)
	if nibble(s.at(0)) >= 0 {
		s.pos++
		return s.fail("two hexadecimal digits for each byte")
	}
	return nil
}

// rest accepts a direction and a comment.
func (s *scanner[T]) rest() error {
	if s.pos == len(s.line) {
		return nil
	}
	if s.spaces() == 0 {
		return s.fail("a hexadecimal digit or the end of the frame")
	}
	if c := s.at(0); c == 'R' || c == 'T' {
		s.pos++
		if s.pos < len(s.line) && s.spaces() == 0 {
			return s.fail("the end of the line behind the direction")
		}
	}
	if s.pos < len(s.line) && s.at(0) != '#' && s.at(0) != ';' {
		return s.fail("a direction (R or T), a comment behind # or ;, or the end of the line")
	}
	return nil
}

// ValidLength says whether a CAN FD frame can have n bytes (ISO 11898-1, table 5). Classic frames have at most 8.
func ValidLength(n int) bool {
	switch n {
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64:
		return true
	}
	return false
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
func digit(c byte) bool { return '0' <= c && c <= '9' }

// nibble gives the value of a hexadecimal digit, or -1.
func nibble(c byte) int { return int(nibbles[c]) }

// nibbles is a table that is never written again.
var nibbles = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("0123456789ABCDEF") {
		t[c], t[c|0x20] = int8(i), int8(i) // the digits have the bit 0x20 set already
	}
	return t
}()

const hexDigits = "0123456789ABCDEF"

// AppendCandump appends f as one line in canonical form, without a line end.
// bus must not be empty or hold blanks; a time before 1970 is written as 0.
func AppendCandump(dst []byte, bus string, f *Frame) []byte {
	t := max(f.Time, 0)
	dst = append(dst, '(')
	dst = appendDecimal(dst, t/1_000_000, 1)
	dst = append(dst, '.')
	dst = appendDecimal(dst, t%1_000_000, 6)
	dst = append(dst, ") "...)
	dst = append(dst, bus...)
	dst = append(dst, ' ')
	switch number := f.ID.Number(); {
	case f.Flags&Error != 0:
		dst = appendHex(dst, number|errorBit, 8)
	case f.ID.IsExtended():
		dst = appendHex(dst, number, 8)
	default:
		dst = appendHex(dst, number, 3)
	}
	dst = append(dst, '#')
	switch {
	case f.Flags&Remote != 0:
		dst = append(dst, 'R')
		if f.Len > 0 {
			dst = append(dst, '0'+min(f.Len, MaxClassic))
		}
	case f.Flags&FD != 0:
		dst = append(dst, '#', hexDigits[candumpFlags(f.Flags)])
	}
	for _, b := range f.Payload() {
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

func candumpFlags(flags Flags) (n int) {
	if flags&BRS != 0 {
		n |= candumpBRS
	}
	if flags&ESI != 0 {
		n |= candumpESI
	}
	return n
}

// appendDecimal appends v ≥ 0 with at least width digits.
func appendDecimal(dst []byte, v int64, width int) []byte {
	var digits [20]byte
	i := len(digits)
	for ; v > 0 || width > 0; width-- {
		i--
		digits[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, digits[i:]...)
}

func appendHex(dst []byte, v uint32, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}
