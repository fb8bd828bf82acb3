package protocol_test

import (
	"errors"
	"path"
	"testing"

	"telltale.dev/protocol"
)

func TestMatchName(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
		err           error
	}{
		{"*", "SPEED", true, nil},
		{"*", "Battery Potential / Power Input 1", true, nil},
		{"Battery*1", "Battery Potential / Power Input 1", true, nil},
		{"a/b", "a/b", true, nil},
		{"a?b", "a/b", true, nil},
		{"WHEEL_*", "SPEED", false, nil},
		{"", "SPEED", false, nil},
		{"[", "SPEED", false, path.ErrBadPattern},
	} {
		got, err := protocol.MatchName(test.pattern, test.name)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q on %q: got %v, %v, want %v, %v", test.pattern, test.name, got, err, test.want, test.err)
		}
	}
}
