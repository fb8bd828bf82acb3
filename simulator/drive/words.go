package drive

import (
	"bytes"

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

// seconds reads a decimal number of seconds, perhaps below zero, as µs; more digits are cut.
func seconds(word []byte) (int64, bool) {
	if len(word) > 0 && word[0] == '-' {
		v, ok := positive(word[1:])
		return -v, ok
	}
	return positive(word)
}

// positive reads digits, perhaps with a point among or behind them.
func positive(word []byte) (int64, bool) {
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

// isDigit says whether word starts with a decimal digit.
func isDigit(word []byte) bool { return len(word) > 0 && word[0] >= '0' && word[0] <= '9' }

func equalFold(word []byte, text string) bool {
	return len(word) == len(text) && bytes.EqualFold(word, []byte(text))
}
