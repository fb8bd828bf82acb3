//go:build linux

package boot

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"telltale.dev/firmware-images/settings"
)

// TestWhoSetsUpBuses: the agent may set up interfaces only when one was left to it; one that cannot be opened is said by name, and stays
// with this process.
func TestWhoSetsUpBuses(t *testing.T) {
	none := settings.Bus{Name: "telltale-none", Listen: "socketcan:telltale-none"} // a machine has none of this name
	for _, c := range []struct {
		buses []settings.Bus
		agent bool
		says  string
	}{
		{nil, false, ""},
		{[]settings.Bus{{Name: "can0"}}, true, ""},
		{[]settings.Bus{none}, false, "bus telltale-none: "},
		{[]settings.Bus{none, {Name: "can0"}}, true, "bus telltale-none: "},
	} {
		var said []string
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody keeps the buses
		sockets, agent := open(ctx, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }, c.buses)
		if len(sockets) != 0 || agent != c.agent || !strings.HasPrefix(strings.Join(said, "\n"), c.says) {
			t.Errorf("%+v: got %d sockets, %v, %q", c.buses, len(sockets), agent, said)
		}
	}
}
