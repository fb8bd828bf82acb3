package file_test

import (
	"testing"
	"time"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/file"
)

// FuzzParse: what is read is a position of the switch and at most one time, and says the same when written again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"on", "off\n", "off shutdown 30s", "1", "0", "on shutdown 1h0m0.5s", "off shutdown -1s", "shutdown 3s", ""} {
		f.Add(text)
	}
	changed := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, text string) {
		state, err := file.Parse(text, changed)
		if err != nil {
			if state != (power.State{}) {
				t.Errorf("an error, and %+v", state)
			}
			return
		}
		again := state.Ignition.String()
		if !state.Ends.IsZero() {
			again += " shutdown " + state.Ends.Sub(changed).String()
		}
		if back, err := file.Parse(again, changed); err != nil || !back.Equal(state) || state.Ignition == power.Unknown {
			t.Errorf("%q is %+v; %q is %+v, %v", text, state, again, back, err)
		}
	})
}
