//go:build !linux

package check

import "errors"

// errNoKernel is for systems whose kernel cannot be asked.
var errNoKernel = errors.New("only Linux can be asked")

func synchronised() (bool, error) { return false, errNoKernel }

func space(string) (free uint64, memory bool, err error) { return 0, false, errNoKernel }
