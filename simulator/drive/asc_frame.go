package drive

import (
	"bytes"
	"fmt"

	"telltale.dev/protocol/can"
)

// classic reads what follows the time when that is a channel number.
func (a *asc) classic(w *words, word []byte, f *can.Frame) (lineKind, int, error) {
	channel, err := a.readChannel(w, word)
	if err != nil {
		return lineOther, 0, err
	}
	word = w.next()
	switch {
	case equalFold(word, "ErrorFrame"):
		setError(f)
		return lineFrame, channel, nil
	case equalFold(word, "J1939TP"), equalFold(word, "OverloadFrame"), bytes.HasSuffix(word, []byte{':'}): // Statistic:, Status:
		return lineOther, 0, nil
	}
	if f.ID, err = a.identifier(w, word); err != nil {
		return lineOther, 0, err
	}
	if kind, err := direction(w, w.next()); kind != lineFrame {
		return kind, 0, err
	}
	f.Flags, f.Len, f.Data = 0, 0, [can.MaxData]byte{}
	switch word = w.next(); {
	case equalFold(word, "r"):
		remoteLength(w, f)
		return lineFrame, channel, nil
	case !equalFold(word, "d"):
		return lineOther, 0, w.fail("d (data) or r (remote)")
	}
	return lineFrame, channel, a.classicData(w, f)
}

// classicData reads a data length code and the data of a classic frame. SavvyCAN
// writes CAN FD frames so too, with their number of bytes: d 12 means them when
// more than 8 bytes stand there.
func (a *asc) classicData(w *words, f *can.Frame) error {
	word := w.next()
	if n, ok := number(word, 10, can.MaxData); ok && n > can.MaxClassic && len(word) == 2 && can.ValidLength(n) && a.bytesAhead(*w) > can.MaxClassic {
		f.Flags = can.FD
		return a.data(w, f, n)
	}
	n, ok := codeOfLength(word)
	if !ok {
		return w.fail("a data length code of 0 to F, or 12, 16, 20, 24, 32, 48 or 64 in front of as many bytes")
	}
	return a.data(w, f, min(n, can.MaxClassic))
}

// bytesAhead counts the words that can be bytes of data.
func (a *asc) bytesAhead(w words) (n int) {
	for ; n <= can.MaxData; n++ {
		if _, ok := number(w.next(), a.radix(), 255); !ok {
			break
		}
	}
	return n
}

// flexible reads what follows CANFD: channel, direction, identifier, name,
// flags, lengths, data and more. Before version 8.1 the direction stands behind
// the identifier.
func (a *asc) flexible(w *words, f *can.Frame) (lineKind, int, error) {
	word := w.next()
	if len(word) > 0 && !isDigit(word) {
		return lineOther, 0, nil // CANFD Start of measurement
	}
	channel, err := a.readChannel(w, word)
	if err != nil {
		return lineOther, 0, err
	}
	f.Flags, f.Data = can.FD, [can.MaxData]byte{}
	word = w.next()
	kind, err := direction(w, word)
	switch {
	case equalFold(word, "ErrorFrame"):
		setError(f)
		return lineFrame, channel, nil
	case err != nil:
		kind, err = a.oldFlexible(w, word, f)
	case kind == lineFrame:
		err = a.newFlexible(w, f)
	}
	if err != nil {
		kind = lineOther
	}
	return kind, channel, err
}

// newFlexible reads what follows the direction: identifier, name, flags, lengths, data and more.
func (a *asc) newFlexible(w *words, f *can.Frame) (err error) {
	word := w.next()
	if equalFold(word, "ErrorFrame") {
		setError(f)
		return nil
	}
	if f.ID, err = a.identifier(w, word); err != nil {
		return err
	}
	dlc, n, err := lengths(w, f)
	if err != nil {
		return err
	}
	if err := a.data(w, f, n); err != nil {
		return err
	}
	w.next() // duration
	w.next() // number of bits
	if flags, ok := number(w.next(), 16, 1<<32-1); ok && flags&ascFD == 0 && n <= can.MaxClassic {
		f.Flags = 0 // a classic frame on a CAN FD channel
		if flags&ascRemote != 0 {
			f.Flags, f.Len, f.Data = can.Remote, uint8(min(dlc, can.MaxClassic)), [can.MaxData]byte{}
		}
	}
	return nil
}

// oldFlexible reads what versions before 8.1 write behind the channel:
// identifier, direction, bit rate switch, error state, d or r, lengths, data.
func (a *asc) oldFlexible(w *words, word []byte, f *can.Frame) (kind lineKind, err error) {
	if f.ID, err = a.identifier(w, word); err != nil {
		return lineOther, err
	}
	if kind, err = direction(w, w.next()); kind != lineFrame {
		return kind, err
	}
	if err := flags(w, w.next(), f); err != nil {
		return lineOther, err
	}
	switch word = w.next(); {
	case equalFold(word, "r"):
		f.Flags, f.Len = 0, 0
		remoteLength(w, f)
		return lineFrame, nil
	case !equalFold(word, "d"):
		return lineOther, w.fail("d (data) or r (remote)")
	}
	_, n, err := lengthAndCode(w)
	if err != nil {
		return lineOther, err
	}
	return lineFrame, a.data(w, f, n)
}

// remoteLength makes f a remote frame and reads the length that it asks for, which may be missing.
func remoteLength(w *words, f *can.Frame) {
	f.Flags = can.Remote
	if n, ok := codeOfLength(w.next()); ok {
		f.Len = uint8(min(n, can.MaxClassic))
	}
}

// lengths reads name (which may be missing), bit rate switch, error state, data length code and number of bytes.
func lengths(w *words, f *can.Frame) (dlc, n int, err error) {
	word := w.next()
	if !isBit(word) {
		word = w.next() // that was the name of the message
	}
	if err := flags(w, word, f); err != nil {
		return 0, 0, err
	}
	return lengthAndCode(w)
}

// flags reads the bit rate switch, which is word, and the error state.
func flags(w *words, word []byte, f *can.Frame) error {
	if !bit(word, can.BRS, f) {
		return w.fail("0 or 1 for the bit rate switch")
	}
	if !bit(w.next(), can.ESI, f) {
		return w.fail("0 or 1 for the error state indicator")
	}
	return nil
}

// lengthAndCode reads the data length code and the number of bytes.
func lengthAndCode(w *words) (dlc, n int, err error) {
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
	radix := a.radix()
	for i := range n {
		v, ok := number(w.next(), radix, 255)
		if !ok {
			return w.fail(fmt.Sprintf("byte %d of %d of the data, in %s", i+1, n, a.digits()))
		}
		f.Data[i] = byte(v)
	}
	f.Len = uint8(n)
	return nil
}

func (a *asc) radix() int {
	if a.decimal {
		return 10
	}
	return 16
}

func (a *asc) digits() string {
	if a.decimal {
		return "decimal digits"
	}
	return "hexadecimal digits"
}

// identifier reads 123 or 18FEF100x, or the name of a message. A name starts
// with a letter, as in DBC files, and then ID = at the end of the line says the
// identifier, always in decimal digits: DC may be a name and C9 a number.
func (a *asc) identifier(w *words, word []byte) (can.ID, error) {
	if !isDigit(word) && len(word) > 0 {
		if tail, ok := idTail(w); ok {
			id, ok := parseID(tail.next(), 10)
			if !ok {
				return 0, tail.fail("an identifier in decimal digits, with x behind it if it has 29 bits")
			}
			if column, number := parseID(word, a.radix()); !number || column != id {
				a.named = true
			}
			return id, nil
		}
		if a.named {
			return 0, w.fail("an identifier that starts with a digit, or ID = behind the data, as names have stood in this column")
		}
	}
	id, ok := parseID(word, a.radix())
	if !ok {
		return 0, w.fail("an identifier of 11 bits, or of 29 with x behind it, in " + a.digits())
	}
	return id, nil
}

// idTail finds what stands behind ID = at the end of the line.
func idTail(w *words) (words, bool) {
	at := bytes.LastIndexByte(w.line, '=')
	if at < 0 || !bytes.HasSuffix(bytes.TrimRight(w.line[:at], " \t"), []byte("ID")) {
		return words{}, false
	}
	return words{line: w.line, pos: at + 1}, true
}

// parseID reads an identifier of 11 bits, or of 29 with x behind it.
func parseID(word []byte, radix int) (can.ID, bool) {
	most, mark := uint64(can.StandardMask), can.ID(0)
	if n := len(word); n > 1 && word[n-1]|0x20 == 'x' {
		word, most, mark = word[:n-1], uint64(can.ExtendedMask), can.Extended
	}
	v, ok := number(word, radix, most)
	return can.ID(v) | mark, ok
}

func setError(f *can.Frame) {
	f.ID, f.Flags, f.Len, f.Data = busError, can.Error, busErrorLength, [can.MaxData]byte{}
}

// direction accepts Rx and Tx. TxRq is only the wish to send; the frame itself has a line of its own.
func direction(w *words, word []byte) (lineKind, error) {
	switch {
	case equalFold(word, "Rx"), equalFold(word, "Tx"):
		return lineFrame, nil
	case equalFold(word, "TxRq"):
		return lineOther, nil
	}
	return lineOther, w.fail("Rx or Tx")
}

// readChannel reads the number of a channel. One of 0 in a log whose channels start at 1 is no channel.
func (a *asc) readChannel(w *words, word []byte) (int, error) {
	n, ok := number(word, 10, maxChannel)
	if !ok || n == 0 && a.channels > 0 && !a.fromZero {
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
