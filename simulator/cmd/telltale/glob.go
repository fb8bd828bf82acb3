package main

import (
	"fmt"
	"net/url"

	"telltale.dev/protocol"
)

// checkGlobs says which of the values of --signal is no glob.
func checkGlobs(globs []string) error {
	for _, glob := range globs {
		if _, err := protocol.MatchName(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("--signal %q: expected a glob such as 'Engine*'", glob)
		}
	}
	return nil
}

// signalQuery asks the cloud for signals whose name matches one of the globs; none means all.
func signalQuery(globs []string) (url.Values, error) {
	if len(globs) == 0 {
		return nil, nil
	}
	return url.Values{"signal": globs}, checkGlobs(globs)
}

// matchGlobs says whether name matches one of the globs; none matches all.
func matchGlobs(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, _ := protocol.MatchName(glob, name); ok {
			return true
		}
	}
	return len(globs) == 0
}
