package drive

import (
	"bytes"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol/can"
)

// trc reads PEAK's trace files ("PEAK CAN TRC File Format", versions 1.0 to
// 2.1), one message a line, in ms since the start:
//
//	;$FILEVERSION=2.1
//	;$STARTTIME=41766.4648963872              days since 1899-12-30, without a time zone; taken as UTC
//	;$COLUMNS=N,O,T,B,I,d,R,L,D
//	     1      1059.900 DT 1      0300 Rx -  7    00 00 00 00 04 00 00
//	     5      1334.416 FD 1      0500 Tx -  9    01 02 03 04 05 06 07 08 09 0A 0B 0C
//	    13      1336.543 RR 1      0100 Rx -  3
//
// Version 1.0 has no header but comments: the start stands in one of them.
// Bus n is can(n−1); a file without a column of buses is of can0.
type trc struct {
	*journal
	columns string // a letter for each, as $COLUMNS has them
	start   instant
	exact   bool // start is from $STARTTIME
	bus     [8]byte
}

// trcColumns are those of the versions without $COLUMNS: N number, O offset in
// ms, B bus, T type, I identifier, d direction, R reserved, L data length code,
// l number of bytes, D data.
var trcColumns = map[string]string{
	"1.0": "NOILD", "1.1": "NOTILD", "1.2": "NOBTILD", "1.3": "NOBTIRLD", "2.0": "NOTIdlD", "2.1": "NOTBIdRLD",
}

func newTRC(j *journal) *trc { return &trc{journal: j, columns: trcColumns["1.0"]} }

// trcVersion is how a file of version 1.1 or later starts.
const trcVersion = ";$FILEVERSION="

func (p *trc) parse(line []byte, f *can.Frame) (lineKind, []byte, error) {
	text := bytes.TrimSpace(line)
	if len(text) == 0 {
		return lineOther, nil, nil
	}
	if text[0] == ';' {
		return p.comment(text)
	}
	m := trcMessage{words: words{line: bytes.TrimRight(line, "\r\n")}, bus: 1}
	if kind, err := p.message(&m, f); kind != lineFrame || err != nil {
		return lineOther, nil, err
	}
	if r := p.outside(p.start, p.start); r != nil {
		return lineOther, nil, r
	}
	f.Time = p.start.at + m.offset
	return lineFrame, strconv.AppendInt(append(p.bus[:0], "can"...), int64(m.bus-1), 10), nil
}

// comment reads a line with ; in front.
func (p *trc) comment(text []byte) (lineKind, []byte, error) {
	w := words{line: text}
	key, value, _ := strings.Cut(strings.TrimRight(string(text), "; \t"), "=")
	value = strings.TrimSpace(value)
	switch {
	case key == ";$FILEVERSION":
		columns, ok := trcColumns[value]
		if !ok {
			return lineOther, nil, &refusal{p.line, fmt.Sprintf("PEAK TRC version %q, expected 1.0 to 1.3, 2.0 or 2.1", value)}
		}
		p.columns = columns
		return lineHeader, nil, nil
	case key == ";$STARTTIME":
		at, ok := days(value)
		p.start, p.exact = instant{at: at, known: ok, words: value, line: p.line}, true
		if !ok && !p.given {
			return lineOther, nil, w.fail("a start in days since 1899-12-30, from 1970 to 2262, such as 41766.4648963872")
		}
		return lineHeader, nil, nil
	case key == ";$COLUMNS":
		p.columns = strings.ReplaceAll(value, ",", "")
		for _, needed := range "OID" {
			if !strings.ContainsRune(p.columns, needed) {
				return lineOther, nil, &refusal{p.line, fmt.Sprintf("columns %s, expected O, I and D among them", value)}
			}
		}
		return lineHeader, nil, nil
	}
	if at := bytes.Index(text, []byte("Start time:")); at > 0 && !p.exact {
		p.start = p.instant(text[at+len("Start time:"):])
		if p.start.unread() && !p.given {
			return lineOther, nil, w.fail(expectedDate)
		}
	}
	return lineOther, nil, nil
}

// days reads a number of days since 1899-12-30 as µs since the Unix epoch.
func days(text string) (us int64, ok bool) {
	n, ok := new(big.Rat).SetString(text)
	if !ok || len(text) > 40 || strings.ContainsAny(text, "eEpPxX/_") {
		return 0, false
	}
	const day = 24 * 60 * 60 * 1_000_000
	n.Mul(n, big.NewRat(day, 1)).Add(n, big.NewRat(1, 2))
	whole := new(big.Int).Quo(n.Num(), n.Denom())
	if !whole.IsInt64() {
		return 0, false
	}
	us = whole.Int64() + time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).UnixMicro()
	return us, us >= 0 && us <= latest
}

// trcMessage is what is known of a message while its columns are read.
type trcMessage struct {
	words
	offset int64 // µs
	kind   string
	bus    int
	length int
	isCode bool // length is a data length code
}

// plain are the kinds of data frames by the letters of their column: classic ones have no flags.
var trcKinds = map[string]can.Flags{
	"": 0, "Rx": 0, "Tx": 0, "DT": 0, "FD": can.FD, "FB": can.FD | can.BRS, "FE": can.FD | can.ESI, "BI": can.FD | can.BRS | can.ESI,
	"RR": can.Remote, "ER": can.Error, "Error": can.Error,
}

// message reads the columns one by one, up to the data.
func (p *trc) message(m *trcMessage, f *can.Frame) (lineKind, error) {
	f.Flags, f.Len, f.Data = 0, 0, [can.MaxData]byte{}
	for _, column := range p.columns {
		if column == 'D' {
			break
		}
		if f.Flags&can.Error != 0 && (column == 'I' || strings.ContainsRune("dRLl", column)) {
			continue // what PEAK writes about errors is not what Linux does
		}
		ok, expected := m.column(column, f)
		switch {
		case !ok:
			return lineOther, m.fail(expected)
		case column == 'T' && trcOther[m.kind]:
			return lineOther, nil
		case column == 'I' && f.ID == busWarning:
			return lineOther, nil
		}
	}
	if f.Flags&can.Error != 0 {
		setError(f)
		return lineFrame, nil
	}
	return m.data(f)
}

// trcOther are the kinds that are no frames: warnings, status, error counters, events.
var trcOther = map[string]bool{"Warng": true, "ST": true, "EC": true, "EV": true}

// busWarning stands for FFFFFFFF in the column of identifiers, which marks a warning of the controller.
const busWarning = can.ID(0xFFFFFFFF)

// column reads one column, or says what was expected there.
func (m *trcMessage) column(column rune, f *can.Frame) (ok bool, expected string) {
	word := m.next()
	switch column {
	case 'N':
		_, ok = number(bytes.TrimSuffix(word, []byte{')'}), 10, 1<<32-1)
		return ok, "the number of the message"
	case 'O':
		m.offset, ok = millis(word)
		return ok, "a time in ms since the start, such as 1059.900"
	case 'T':
		m.kind = string(word)
		f.Flags, ok = trcKinds[m.kind]
		return (ok && m.kind != "") || trcOther[m.kind], "a type such as DT, FD, FB, RR or Rx"
	case 'B':
		m.bus, ok = number(word, 10, maxChannel)
		return ok && m.bus > 0 || m.kind == "EV", fmt.Sprintf("a bus of 1 to %d", maxChannel)
	case 'I':
		f.ID, ok = trcID(word)
		return ok, "an identifier of 4 or 8 hexadecimal digits"
	case 'd':
		return equalFold(word, "Rx") || equalFold(word, "Tx"), "Rx or Tx"
	case 'L', 'l':
		m.isCode = column == 'L'
		m.length, ok = number(word, 10, 1785) // of J1939
		return ok, "the number of bytes or a data length code"
	}
	return len(word) > 0, "a column that is reserved"
}

// trcID reads an identifier: 4 digits of 11 bits, more of 29.
func trcID(word []byte) (can.ID, bool) {
	id, ok := number(word, 16, 1<<32-1)
	switch {
	case ok && can.ID(id) == busWarning:
		return busWarning, true
	case len(word) <= 4:
		return can.ID(id), ok && uint64(id) <= uint64(can.StandardMask)
	}
	return can.ID(id) | can.Extended, ok && uint64(id) <= uint64(can.ExtendedMask)
}

// millis reads a number of ms as µs.
func millis(word []byte) (int64, bool) {
	whole, fraction, _ := bytes.Cut(word, []byte{'.'})
	ms, err := strconv.ParseUint(string(whole), 10, 63)
	if err != nil || ms > latest/1000 {
		return 0, false
	}
	us, err := strconv.ParseUint(string(append(bytes.Clone(fraction), "000"...)[:3]), 10, 16)
	return int64(ms)*1000 + int64(us), err == nil
}

// data reads the bytes behind the other columns.
func (m *trcMessage) data(f *can.Frame) (lineKind, error) {
	n := m.length
	if m.isCode && f.Flags&can.FD != 0 {
		n = lengthOfCode(n)
	}
	switch first := m.peek(); {
	case equalFold(first, "ERROR"):
		setError(f)
		return lineFrame, nil
	case equalFold(first, "RTR"), f.Flags&can.Remote != 0:
		f.Flags, f.Len = can.Remote, uint8(min(n, can.MaxClassic))
		return lineFrame, nil
	}
	if f.Flags&can.FD == 0 && n > can.MaxClassic || n > can.MaxData || !can.ValidLength(n) {
		return lineOther, m.fail("0 to 8 bytes, or up to 64 of a CAN FD frame; J1939 packets that were joined are not read")
	}
	for i := range n {
		v, ok := number(m.next(), 16, 255)
		if !ok {
			return lineOther, m.fail(fmt.Sprintf("byte %d of %d of the data, in hexadecimal digits", i+1, n))
		}
		f.Data[i] = byte(v)
	}
	f.Len = uint8(n)
	return lineFrame, nil
}

// peek gives the next word without leaving the current one.
func (m *trcMessage) peek() []byte {
	ahead := m.words
	return ahead.next()
}

// lengthOfCode gives the number of bytes of a data length code of CAN FD (ISO 11898-1, table 5), or the code itself when it is none.
func lengthOfCode(code int) int {
	if code >= 9 && code <= 15 {
		return [...]int{12, 16, 20, 24, 32, 48, 64}[code-9]
	}
	return code
}
