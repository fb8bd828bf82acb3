package e2e_test

import (
	"maps"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/simulator/world"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// presences waits until the cloud says so of the devices of anna.
func (p *parked) presences(want map[string]string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := p.world.Presences(p.t.Context(), p.vehicle.Vehicle)
		if err == nil && maps.Equal(got, want) {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
}

// TestTwoDevicesApart: of two devices of one car each speaks for itself alone. What becomes of one, by a goodbye or
// without a word, and what it claims of the other one, changes nothing of the other one.
func TestTwoDevicesApart(t *testing.T) {
	t.Parallel()
	p := park(t)
	online, lost, offline := "online", "lost", "offline"
	connect := func() *world.Client {
		t.Helper()
		c, err := p.world.Connect(t.Context(), "anna", "ivi-b")
		must(t, err)
		t.Cleanup(c.Drop)
		return c
	}
	ivi := connect()
	p.presences(map[string]string{"tcu-a": online, "ivi-b": online})
	before, err := p.world.Metrics(t.Context())
	must(t, err)
	if got := before["telltale_broker_connections"]; got < 2 {
		t.Errorf("got %v connections, want at least those of the two devices", got)
	}

	claim, err := document.Marshal(protocol.Presence{Version: 1, State: protocol.PresenceOffline, Device: "tcu-a", Boot: protocol.BootID{1}, Connection: 9})
	must(t, err)
	code, err := ivi.Send(t.Context(), &paho.Publish{Topic: "v1/anna/up/presence/tcu-a", QoS: 1, Retain: true, Payload: claim})
	must(t, err)
	if code < 0x80 {
		t.Errorf("got 0x%02X for the word of another device, want a refusal", code)
	}
	after, err := p.world.Metrics(t.Context())
	must(t, err)
	if got := after["telltale_broker_refused_total"] - before["telltale_broker_refused_total"]; got != 1 {
		t.Errorf("got %v refusals, want 1", got)
	}
	p.presences(map[string]string{"tcu-a": online, "ivi-b": online})

	ivi.Drop()
	p.presences(map[string]string{"tcu-a": online, "ivi-b": lost})
	ivi = connect()
	p.presences(map[string]string{"tcu-a": online, "ivi-b": online})
	must(t, ivi.Leave(t.Context()))
	p.presences(map[string]string{"tcu-a": online, "ivi-b": offline})

	ivi = connect()
	p.vehicle.Kill()
	p.presences(map[string]string{"tcu-a": lost, "ivi-b": online})
	must(t, ivi.Leave(t.Context()))
}
