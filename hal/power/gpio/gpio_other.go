//go:build !linux

package gpio

import (
	"fmt"

	"telltale.dev/hal/power"
)

// Open fails: this driver is Linux's.
func Open(Config) (power.Supply, error) {
	return nil, fmt.Errorf("gpio: %w: expected Linux", power.ErrUnsupported)
}
