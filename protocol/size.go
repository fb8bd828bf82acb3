package protocol

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads "512", "64KiB", "20MiB" or "1GiB" as bytes, on every machine the same.
func ParseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, unit := range [...]struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}} {
		if d, ok := strings.CutSuffix(s, unit.suffix); ok {
			digits, factor = d, unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] < '0' || digits[0] > '9' || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("size %.16q: expected a number of B, KiB, MiB or GiB", s)
	}
	return n * factor, nil
}

// ParseSizeFrom is ParseSize for a size of at least so many bytes.
func ParseSizeFrom(s string, least int64) (int64, error) {
	n, err := ParseSize(s)
	if err == nil && n < least {
		return 0, fmt.Errorf("size %.16q: expected at least %d KiB", s, least>>10)
	}
	return n, err
}
