package dbc

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// plainText removes a byte order mark and turns UTF-16 (told by its mark) into UTF-8. Other bytes stay as
// they are: strings are made UTF-8 one by one, since files that mix encodings exist.
func plainText(text []byte) string {
	switch {
	case len(text) >= 3 && string(text[:3]) == "\xEF\xBB\xBF":
		return string(text[3:])
	case len(text) >= 2 && string(text[:2]) == "\xFF\xFE":
		return wideText(text[2:], binary.LittleEndian)
	case len(text) >= 2 && string(text[:2]) == "\xFE\xFF":
		return wideText(text[2:], binary.BigEndian)
	}
	return string(text)
}

func wideText(text []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = order.Uint16(text[2*i:])
	}
	return string(utf16.Decode(units))
}

// cp1252High is what Windows code page 1252 has at 0x80 to 0x9F; the five unassigned places keep their number.
const cp1252High = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// readable makes a string of the file UTF-8: what is valid UTF-8 already stays,
// anything else is read as Windows-1252, which DBC editors write. Line ends become "\n".
func readable(s string) string {
	if !utf8.ValidString(s) {
		high := []rune(cp1252High)
		var b strings.Builder
		for _, c := range []byte(s) {
			r := rune(c)
			if c >= 0x80 && c < 0xA0 {
				r = high[c-0x80]
			}
			b.WriteRune(r)
		}
		s = b.String()
	}
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s
}
