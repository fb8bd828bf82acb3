package main

import (
	"fmt"

	"telltale.dev/protocol"
)

// matchGlob says whether name matches; an empty pattern matches all.
func matchGlob(pattern, name string) (bool, error) {
	if pattern == "" {
		return true, nil
	}
	ok, err := protocol.MatchName(pattern, name)
	if err != nil {
		return false, fmt.Errorf("--signal: expected a glob such as 'Engine*': %w", err)
	}
	return ok, nil
}
