package decode

import (
	"math"
	"strconv"
	"strings"

	"telltale.dev/protocol/dbc"
)

// unrounded is the number of decimals of values that are written as computed.
const unrounded = -1

// decimalsOf gives how many decimals the exact value of a signal has at most: those of its factor and offset, whichever has
// more, since raw values are integers. It is unrounded for floating-point signals, and where a float64 does not hold so many.
func decimalsOf(s *dbc.Signal) int {
	const most = 15 // decimal digits that a float64 always holds
	n := max(decimals(s.Scale), decimals(s.Offset))
	if s.IEEE != 0 || n > most {
		return unrounded
	}
	return n
}

// decimals counts the digits behind the point of a decimal number such as 0.005 or 5E-3.
func decimals(text string) int {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	power, _ := strconv.Atoi(exponent)
	return max(len(strings.TrimRight(fraction, "0"))-power, 0)
}

// appendRounded writes the value of a signal with no more decimals than it has, as long as a float64 tells them apart.
func appendRounded(line []byte, s *dbc.Signal, f float64) []byte {
	const digits = 15
	decimals := decimalsOf(s)
	if decimals == unrounded || math.Abs(f)+math.Abs(s.Shift) >= math.Pow10(digits-decimals) {
		return appendFloat(line, f)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', decimals, 64), 64)
	if err != nil || rounded == 0 {
		rounded = 0 // no negative zero
	}
	return appendFloat(line, rounded)
}
