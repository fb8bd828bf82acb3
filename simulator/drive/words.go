package drive

import (
	"bytes"
	"strings"
	"time"

	"telltale.dev/protocol/can"
)

// words walks over the words of a line.
type words struct {
	line []byte
	pos  int // behind the current word
	at   int // start of the current word
}

// next gives the next word, empty at the end of the line.
func (w *words) next() []byte {
	for w.pos < len(w.line) && w.line[w.pos] <= ' ' {
		w.pos++
	}
	w.at = w.pos
	for w.pos < len(w.line) && w.line[w.pos] > ' ' {
		w.pos++
	}
	return w.line[w.at:w.pos]
}

// fail names the current word's column.
func (w *words) fail(expected string) error {
	return &can.SyntaxError{Column: w.at + 1, Expected: expected}
}

// number reads an unsigned number up to most. One above the int of a 32-bit
// machine keeps its bits.
func number(word []byte, base int, most uint64) (v int, ok bool) {
	if len(word) == 0 || len(word) > 10 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range word {
		d := 99
		switch {
		case '0' <= c && c <= '9':
			d = int(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			d = int(c|0x20-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		n = n*uint64(base) + uint64(d)
	}
	return int(n), n <= most
}

// seconds reads a decimal number of seconds as µs; more digits are cut.
func seconds(word []byte) (int64, bool) {
	var v, scale int64 = 0, 0
	for i, c := range word {
		switch {
		case '0' <= c && c <= '9' && scale == 0:
			if v = v*10 + int64(c-'0'); v > can.MaxSeconds {
				return 0, false
			}
		case '0' <= c && c <= '9':
			if scale > 1 {
				scale /= 10
				v += int64(c-'0') * scale
			}
		case c == '.' && scale == 0 && i > 0:
			scale = 1_000_000
			v *= scale
		default:
			return 0, false
		}
	}
	if scale == 0 {
		v *= 1_000_000
	}
	return v, len(word) > 0
}

// months by their first letters, as English, German and French Windows write
// them (in cp1252 letters with accents are no UTF-8 and become U+FFFD).
var months = map[string]time.Month{
	"jan": 1, "feb": 2, "mar": 3, "mär": 3, "m\uFFFDr": 3, "mrz": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7,
	"aug": 8, "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
	"fév": 2, "f\uFFFDv": 2, "avr": 4, "juin": 6, "juil": 7, "aoû": 8, "ao\uFFFD": 8, "déc": 12, "d\uFFFDc": 12,
}

// date reads weekday, month, day, time, am or pm, year as µs since the epoch.
func date(fields []string) (int64, bool) {
	if len(fields) < 5 {
		return 0, false
	}
	month, day, clock, year := strings.ToLower(fields[1]), strings.TrimRight(fields[2], "."), fields[3], fields[4]
	half := strings.ToLower(fields[4])
	halves := (half == "am" || half == "pm") && len(fields) > 5
	if halves {
		year = fields[5]
	}
	t, err := time.Parse("2 15:4:5 2006", day+" "+clock+" "+year)
	if halves { // but some of Vector's programs write 15:06:13 pm, and even 13:14:48 am
		if of12, wrong := time.Parse("2 3:4:5 PM 2006", day+" "+clock+" "+strings.ToUpper(half)+" "+year); wrong == nil {
			t, err = of12, nil
		}
	}
	if err != nil {
		return 0, false
	}
	for name, m := range months {
		if strings.HasPrefix(month, name) && t.Day() <= time.Date(t.Year(), m+1, 0, 0, 0, 0, 0, time.UTC).Day() {
			start := t.AddDate(0, int(m)-1, 0).UnixMicro()
			return start, start >= 0 && start <= latest
		}
	}
	return 0, false
}

func equalFold(word []byte, text string) bool {
	return len(word) == len(text) && bytes.EqualFold(word, []byte(text))
}
