package dbc

import (
	"math"
	"strconv"
	"strings"
)

// parseInteger reads an integer: decimal, hexadecimal (0x), or a decimal
// number without fraction such as 8.0 or 1E3. Values from 2⁶³ to 2⁶⁴−1 become two's complement.
func parseInteger(s string) (int64, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	digits = strings.TrimPrefix(digits, "+")
	base := 10
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		digits, base = digits[2:], 16
	}
	if v, err := strconv.ParseUint(digits, base, 64); err == nil {
		if negative {
			return -int64(v), v <= 1<<63
		}
		return int64(v), true
	}
	f, ok := parseDecimal(s)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// parseDecimal reads a finite decimal number: 1, -1.5, .5, 1., 1E-05. It takes no NaN, no infinity and no hexadecimal.
func parseDecimal(s string) (float64, bool) {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && strings.IndexByte("+-.eE", c) < 0 {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// pair cuts "a,b" in two numbers. With a decimal comma in both, "0,1,0,0", the comma in the middle separates them.
func pair(s string, separator string) (a, b string, ok bool) {
	parts := strings.Split(s, separator)
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	switch {
	case len(parts) == 2:
		return strings.Replace(parts[0], ",", ".", 1), strings.Replace(parts[1], ",", ".", 1), true
	case len(parts) == 4 && separator == ",":
		return parts[0] + "." + parts[1], parts[2] + "." + parts[3], true
	}
	return "", "", false
}
