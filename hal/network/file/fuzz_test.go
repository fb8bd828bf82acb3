package file_test

import (
	"fmt"
	"strings"
	"testing"

	"telltale.dev/hal/network"
	"telltale.dev/hal/network/file"
)

// FuzzParse: what is read has a known type, and says the same when written again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"type=cellular roaming=yes metered=no interface=wwan0", "type=none", "type=wifi\nmetered=yes", "roaming=yes", "type=", "=", ""} {
		f.Add(text)
	}
	yes := map[bool]string{true: "yes", false: "no"}
	f.Fuzz(func(t *testing.T, text string) {
		state, err := file.Parse(text)
		if err != nil {
			return
		}
		if state.Type == network.Unknown || strings.ContainsAny(state.Interface, " \n\t") {
			t.Errorf("%q is %+v", text, state)
		}
		again := fmt.Sprintf("type=%s interface=%s roaming=%s metered=%s", state.Type, state.Interface, yes[state.Roaming], yes[state.Metered])
		if back, err := file.Parse(again); err != nil || back != state {
			t.Errorf("%q is %+v; %q is %+v, %v", text, state, again, back, err)
		}
	})
}
