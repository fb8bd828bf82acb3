package protocol_test

import (
	"testing"

	"telltale.dev/protocol"
)

func TestPriorities(t *testing.T) {
	for p := protocol.CS0; p <= protocol.CS6; p++ {
		back, err := protocol.ParsePriority(p.String())
		if err != nil || back != p {
			t.Errorf("%s: got %v, %v, want it back", p, back, err)
		}
		if p.Hot() != (p >= protocol.CS3) || p.Urgent() != (p >= protocol.CS4) {
			t.Errorf("%s: got hot %v, urgent %v", p, p.Hot(), p.Urgent())
		}
	}
	if protocol.Priorities != 7 || protocol.CS0 != 1 || protocol.CS6.String() != "CS6" {
		t.Error("the numbers of the classes have changed: buffers on disk hold them")
	}
	for _, bad := range []string{"", "CS", "CS7", "cs1", "CS10", "AF1", "CS1 "} {
		if p, err := protocol.ParsePriority(bad); err == nil || p != protocol.PriorityUnset {
			t.Errorf("%q: got %v, want an error", bad, p)
		}
	}
	for _, p := range []protocol.Priority{protocol.PriorityUnset, 8, 255} {
		if p.String() != "" {
			t.Errorf("priority %d: got %q, want nothing", p, p)
		}
	}
	for p := protocol.PriorityUnset; p <= protocol.CS6; p++ {
		text, err := p.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back := protocol.Priority(99)
		if err := back.UnmarshalText(text); err != nil || back != p {
			t.Errorf("%q: got %v, %v, want %d", text, back, err, p)
		}
	}
}
