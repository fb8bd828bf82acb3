package settings_test

import (
	"strings"
	"testing"

	"telltale.dev/firmware-images/settings"
)

// TestDevices: the agent gets no device that its settings do not use, however they are written.
func TestDevices(t *testing.T) {
	const tpm, alarm, sleep = "/dev/tpmrm*", "/sys/class/rtc/rtc0/wakealarm", "/sys/power/state"
	for _, c := range []struct{ text, flags, want string }{
		{"", "", tpm},
		{"power: {after: suspend}", "", tpm}, // without an ignition nothing ever follows
		{"power: {ignition: none, after: suspend}", "", tpm},
		{"power: {ignition: 'file:/run/x'}", "", tpm},
		{"power: {ignition: 'file:/run/x', after: stop}", "", tpm + " " + alarm},
		{"power: {ignition: 'file:/run/x', after: suspend}", "", tpm + " " + alarm + " " + sleep},
		{"power-ignition: gpio:/dev/gpiochip1?line=17&debounce=50ms", "", tpm + " /dev/gpiochip1"},
		{"power: {ignition: 'gpio:/dev/gpiochip0?line=1', after: wait}", "--power-after=stop", tpm + " /dev/gpiochip0 " + alarm},
		{"power: {ignition: 'gpio:/dev/gpiochip0?line=1'}", "--power-ignition none", tpm},
		{"power: {ignition: 'gpio:/dev/mem?line=1'}", "", tpm},
		{"power: {ignition: 'gpio:/dev/gpiochip*?line=1'}", "", tpm},
		{"power: {ignition: 'gpio:/dev/gpiochip0/../mem?line=1'}", "", tpm},
	} {
		a, err := settings.ParseAgent([]byte(c.text), strings.Fields("/bin/agent run "+c.flags))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if got := strings.Join(a.Devices(), " "); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.text, c.flags, got, c.want)
		}
	}
}

// TestParseAgent: what is trusted is read as the agent reads it.
func TestParseAgent(t *testing.T) {
	got, err := settings.ParseAgent([]byte("buses: [{name: can0}]\nupdate: {keys: /k, board: b, version: '1', release: 1790000000}\n"), nil)
	if want := (settings.OfAgent{Keys: "/k", Board: "b", Release: 1790000000}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for text, says := range map[string]string{"update: {release: new}": "agent.yaml: update: release: expected a number", "- a": "agent.yaml: yaml: "} {
		if _, err := settings.ParseAgent([]byte(text), nil); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
	}
}
