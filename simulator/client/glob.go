package client

import (
	"fmt"
	"net/url"

	"telltale.dev/protocol"
)

// CheckGlobs says which of the values of --signal is no glob.
func CheckGlobs(globs []string) error {
	for _, glob := range globs {
		if _, err := protocol.MatchName(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("--signal %q: expected a glob such as 'Engine*'", glob)
		}
	}
	return nil
}

// SignalQuery asks the cloud for signals whose name matches one of the globs; none means all.
func SignalQuery(globs []string) (url.Values, error) {
	if len(globs) == 0 {
		return nil, nil
	}
	return url.Values{"signal": globs}, CheckGlobs(globs)
}

// MatchGlobs says whether name matches one of the globs; none matches all.
func MatchGlobs(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, _ := protocol.MatchName(glob, name); ok {
			return true
		}
	}
	return len(globs) == 0
}
