package main

import (
	"fmt"
	"path"
)

// matchGlob says whether name matches; an empty pattern matches all.
func matchGlob(pattern, name string) (bool, error) {
	if pattern == "" {
		return true, nil
	}
	ok, err := path.Match(pattern, name)
	if err != nil {
		return false, fmt.Errorf("--signal: expected a glob such as 'Engine*': %w", err)
	}
	return ok, nil
}
