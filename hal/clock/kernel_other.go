//go:build !linux

package clock

import (
	"errors"
	"time"
)

// errNoKernel is for systems whose kernel cannot be asked.
var errNoKernel = errors.New("only Linux can be asked")

// Synchronised gives an error: this kernel cannot be asked.
func Synchronised() (synced bool, most time.Duration, err error) { return false, 0, errNoKernel }
