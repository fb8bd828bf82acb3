package check

import (
	"fmt"

	"telltale.dev/hal/slots"
)

// Slots says what runs and what would be started next.
func Slots(s slots.Slots) Line {
	st, err := s.Status()
	if err != nil {
		return Failure("slots", "is this the board whose slots are configured, and may the agent's user read them?", "%v", err)
	}
	booted := string(st.Booted)
	if booted == "" {
		booted = "unknown"
	}
	text := "runs " + booted
	for _, slot := range st.Order {
		text += fmt.Sprintf(", %s has %d of %d starts left", slot, st.Left[slot], slots.Tries)
	}
	line := Okay("slots", "%s", text)
	switch {
	case st.Problem != "":
		line = Warning("slots", "telltale-agent slot confirm writes a good one", "%s: %s", text, st.Problem)
	case st.Booted == "":
		line = Failure("slots", "the kernel's command line must name the slot; without it no update can be installed", "%s", text)
	case st.Trial:
		line = Warning("slots", "it is confirmed once the agent is healthy and connected", "%s, on trial", text)
	case st.Confirmed() != "" && st.Confirmed() != st.Booted:
		line = Warning("slots", "an update writes a new firmware into it; telltale-agent slot confirm keeps the slot that runs", "%s: slot %s is confirmed and could not be started", text, st.Confirmed())
	case !st.Bootable(st.Booted):
		line = Warning("slots", "telltale-agent slot confirm keeps the slot that runs", "%s: the slot that runs would not be started again", text)
	case !st.Bootable(st.Booted.Other()):
		line = Warning("slots", "an update fills it", "%s: nothing to fall back to", text)
	}
	line.Details = st
	return line
}
