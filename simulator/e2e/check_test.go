package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/world"
)

// checked runs telltale-agent check with the vehicle's own settings; it gives level and text by area.
func (p *parked) checked() (found map[string]string, ok bool) {
	p.t.Helper()
	args := append([]string{"check", "--json", "--while=300ms"}, p.vehicle.Arguments()[1:]...)
	cmd := exec.CommandContext(p.t.Context(), p.world.AgentProgram(), args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	var report struct {
		OK    bool
		Lines []struct{ Area, Level, Text string }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		p.t.Fatalf("%v: %s%s", err, out, &errs)
	}
	found = map[string]string{}
	for _, l := range report.Lines {
		area, _, _ := strings.Cut(l.Area, " 127.0.0.1")
		found[area] = l.Level + " " + l.Text
	}
	if report.OK != (err == nil) {
		p.t.Errorf("ok %v, but it ended with %v", report.OK, err)
	}
	return found, report.OK
}

func (p *parked) expect(found map[string]string, area, want string) {
	p.t.Helper()
	if !strings.Contains(found[area], want) {
		p.t.Errorf("%s: got %q, want %q", area, found[area], want)
	}
}

// TestCheckOfADevice: the agent's check beside the agent, without it, and when the cloud refuses or is away.
func TestCheckOfADevice(t *testing.T) {
	t.Parallel()
	p := park(t)
	p.presence("online", 10*time.Second)
	p.await("connected", 10*time.Second, func(s world.Status) bool { return s.Connected })
	before := p.vehicle.Status()
	found, ok := p.checked()
	if !ok {
		t.Errorf("beside the agent: got %v", found)
	}
	p.expect(found, "buffer", "OK in use by the agent")
	p.expect(found, "cloud", "the server takes our certificate")
	p.expect(found, "bus can0", "WARN no frames")
	p.expect(found, "ignition", "OK on")
	p.expect(found, "network", "OK ethernet")
	p.presence("online", time.Second)
	if after := p.vehicle.Status(); after.Connection != before.Connection || !after.Connected {
		t.Errorf("the agent was disturbed: connection %d became %d", before.Connection, after.Connection)
	}

	if err := p.vehicle.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, _ = p.checked()
	p.expect(found, "buffer", "OK 0 records")
	p.expect(found, "cloud", "the server takes our certificate")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.world.Ports().HTTP+"/v1/vehicles/anna/suspend", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("suspend: got %v, %v", resp, err)
	}
	resp.Body.Close()
	if found, ok = p.checked(); ok {
		t.Errorf("suspended: got %v", found)
	}
	p.expect(found, "cloud", "server refuses: not authorised")

	p.world.KillCloud()
	if found, ok = p.checked(); ok || !strings.HasPrefix(found["cloud"], "FAIL ") {
		t.Errorf("no cloud: got %v", found)
	}
}
