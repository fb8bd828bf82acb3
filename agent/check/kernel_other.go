//go:build !linux

package check

import "errors"

// errNoKernel is for systems whose kernel cannot be asked.
var errNoKernel = errors.New("only Linux can be asked")

func space(string) (free uint64, memory bool, err error) { return 0, false, errNoKernel }
