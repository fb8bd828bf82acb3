package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/fleet"
)

const someVehicles = 20

// ask gets a route of a cloud's API.
func (s *server) ask(t *testing.T, route string, answer any) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + s.http + route)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", route, err)
	}
}

// stored is how many batches of a vehicle the cloud has, and whether any is missing or there twice.
func (s *server) stored(t *testing.T, vid string) (n uint64, flawless bool) {
	t.Helper()
	var boots []struct {
		Stored     uint64
		Gaps       [][2]uint64
		Duplicates uint64
	}
	s.ask(t, "/v1/vehicles/"+vid+"/ledger", &boots)
	flawless = true
	for _, b := range boots {
		n += b.Stored
		flawless = flawless && len(b.Gaps) == 0 && b.Duplicates == 0
	}
	return n, flawless
}

// presence is what the cloud says of a vehicle's device.
func (s *server) presence(t *testing.T, vid string) string {
	t.Helper()
	var devices []struct{ Presence string }
	s.ask(t, "/v1/vehicles/"+vid+"/presence", &devices)
	if len(devices) != 1 {
		return ""
	}
	return devices[0].Presence
}

// TestBatches lets vehicles publish real batches, and finds all of them in the cloud's ledger.
func TestBatches(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	list, roots := cloud.vehicles(t, someVehicles)
	var lines []fleet.Progress
	began, ended, online := 0, 0, 0
	got, err := fleet.Run(t.Context(), fleet.Config{
		Address: cloud.addr, Roots: roots, Vehicles: list, Rate: 20, Window: 4, Duration: 2 * time.Second, Ramp: 100,
		Progress: func(p fleet.Progress) { lines = append(lines, p) },
		Began:    func() { began++ },
		Ended: func() {
			ended++
			for _, v := range list {
				if cloud.presence(t, string(v.Vehicle)) == "online" {
					online++
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := got.Normal
	if len(got.Errors) != 0 || got.Connected != someVehicles || n.Unanswered != 0 || len(n.Refused) != 0 || n.Acked != n.Published {
		t.Errorf("got %+v, want %d connected and all acked", got, someVehicles)
	}
	if want := someVehicles * 20 * 2; n.Published < uint64(want)/2 || n.Published > uint64(want)*3/2 { // a busy machine ends late
		t.Errorf("published: got %d, want about %d", n.Published, want)
	}
	if n.P50 <= 0 || n.P50 > n.P90 || n.P90 > n.P99 || n.P99 > n.Max || got.Rate <= 0 || got.Bytes == 0 {
		t.Errorf("latencies, rate or bytes: got %+v", got)
	}
	for _, v := range list { // after the end they are not online any more, and not lost either
		said := ""
		for end := time.Now().Add(time.Minute); said != "offline" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			said = cloud.presence(t, string(v.Vehicle))
		}
		if said != "offline" {
			t.Errorf("%s is %s after the end, want offline", v.Vehicle, said)
		}
	}
	if online == 0 {
		t.Error("got nobody online while they published")
	}
	if len(lines) == 0 || began != 1 || ended != 1 {
		t.Errorf("got %d progress lines, began %d times, ended %d times; want some, 1 and 1", len(lines), began, ended)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		total, flawless := uint64(0), true
		for _, v := range list {
			stored, ok := cloud.stored(t, string(v.Vehicle))
			total, flawless = total+stored, flawless && ok
		}
		if total == n.Acked && flawless {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("ledger: got %d batches (no gap, none twice: %v), want %d", total, flawless, n.Acked)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestFlood lets one vehicle of several publish all it can.
func TestFlood(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t, "--quota-messages", "2")
	list, roots := cloud.vehicles(t, 5)
	got, err := fleet.Run(t.Context(), fleet.Config{
		Address: cloud.addr, Roots: roots, Vehicles: list, Rate: 1, Window: 4, Random: 64, Flood: 1,
		Pulse: time.Second, Duration: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Flooding == nil || got.Flooding.Refused["0x97"] == 0 || got.Flooding.Acked == 0 {
		t.Errorf("flooding: got %+v, want some refused with 0x97, others acked", got.Flooding)
	}
	if len(got.Normal.Refused) != 0 || got.Normal.Acked != got.Normal.Published || got.Normal.Acked == 0 {
		t.Errorf("normal: got %+v, want all acked", got.Normal)
	}
	if got.Pulse == nil || got.Pulse.Calm.P99 == 0 || got.Pulse.Flood.P99 == 0 {
		t.Errorf("pulse: got %+v, want latencies of both phases", got.Pulse)
	}
}

// TestReconnect kills the cloud under the fleet, and starts it again.
func TestReconnect(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	list, roots := cloud.vehicles(t, someVehicles)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	killed, before := false, uint64(0)
	got, err := fleet.Run(ctx, fleet.Config{
		Address: cloud.addr, Roots: roots, Vehicles: list, Window: 2, Rate: 50,
		Progress: func(p fleet.Progress) {
			switch {
			case p.Acked == 0:
			case !killed:
				killed, before = true, uint64(p.Acked)
				_ = cloud.cmd.Process.Kill()
				_ = cloud.cmd.Wait()
				cloud.cmd = exec.Command(cloud.program, "run", "--dev", "--data", cloud.dir, "--mqtt", cloud.addr, "--http", "127.0.0.1:0", "--download", "none")
				if err := cloud.cmd.Start(); err != nil {
					t.Error(err)
				}
			case p.Connected == someVehicles && p.Errors > 0 && uint64(p.Acked) > before+100: // more than was under way when the cloud died
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Errors) == 0 || got.Connected != someVehicles {
		t.Errorf("got %+v, want errors and all connected at the end", got)
	}
}

// TestNobody: nobody listens.
func TestNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	list, err := fleet.Names("nobody", 3)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 10)
	got, err := fleet.Run(t.Context(), fleet.Config{
		Address: listener.Addr().String(), Vehicles: list, Duration: 100 * time.Millisecond, Failed: func(cause string) { told <- cause },
	})
	if err != nil {
		t.Fatal(err)
	}
	if cause := <-told; cause != "dial: connect: connection refused" || len(told) > 0 {
		t.Errorf("got %q and %d more, want the cause once, when it happens first", cause, len(told))
	}
	if got.Connected != 0 || got.Normal.Published != 0 || got.Errors["dial: connect: connection refused"] != 3 {
		t.Errorf("got %+v, want 3 times connection refused", got)
	}
}

// TestSilent: who listens never says a word.
func TestSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	list, err := fleet.Names("silent", 3)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := fleet.Run(ctx, fleet.Config{Address: listener.Addr().String(), Vehicles: list}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v to end", took)
	}
}

// TestMosquitto: another broker, one certificate for all.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	broker, cert, roots := startMosquitto(t)
	list, err := fleet.Names("plain", someVehicles)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i].Certificate = cert
	}
	got, err := fleet.Run(t.Context(), fleet.Config{Address: broker.addr, Roots: roots, Vehicles: list, Window: 100, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Errors) != 0 || got.Normal.Acked == 0 || got.Normal.Acked != got.Normal.Published {
		t.Errorf("got %+v, want all acked", got)
	}
}

func TestConfig(t *testing.T) {
	list, err := fleet.Names("config", 2)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*fleet.Config)
		want   string
	}{
		"no vehicle":     {func(c *fleet.Config) { c.Vehicles = nil }, "0 vehicles"},
		"flood":          {func(c *fleet.Config) { c.Flood = 3 }, "3 flooding vehicles"},
		"negative rate":  {func(c *fleet.Config) { c.Rate = -1 }, "rate"},
		"slow rate":      {func(c *fleet.Config) { c.Rate = 1e-9 }, "rate"},
		"window":         {func(c *fleet.Config) { c.Window = 100_000 }, "window"},
		"payload":        {func(c *fleet.Config) { c.Random = 1 << 30 }, "payload"},
		"duration":       {func(c *fleet.Config) { c.Duration = -1 }, "duration"},
		"address":        {func(c *fleet.Config) { c.Address = "nowhere" }, "missing port"},
		"endless pulses": {func(c *fleet.Config) { c.Pulse = -1 }, "pulse"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := fleet.Config{Address: "127.0.0.1:1", Vehicles: list}
			test.change(&cfg)
			_, err := fleet.Run(t.Context(), cfg)
			if !errors.Is(err, fleet.ErrConfig) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrConfig with %q", err, test.want)
			}
		})
	}
	if _, err := fleet.Names("x", -1); !errors.Is(err, fleet.ErrConfig) {
		t.Errorf("names: got %v, want ErrConfig", err)
	}
	if _, err := fleet.Names("a/b", 1); err == nil {
		t.Error("names: got no error for a prefix with a slash")
	}
}

// TestCommand runs telltale fleet itself.
func TestCommand(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), build(t, "telltale"), "fleet", "-n", "3", "--mqtt", cloud.addr, "--cloud", cloud.dir, "--time", "1200ms", "--rate", "10", "--json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got fleet.Summary
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("summary: %v in %q", err, stdout.String())
	}
	if got.Normal.Acked == 0 || got.Normal.Acked != got.Normal.Published || got.Connected != 3 {
		t.Errorf("got %+v, want 3 connected and all acked", got)
	}
	if !strings.Contains(stderr.String(), "connected 3") || !strings.Contains(stderr.String(), "p99") {
		t.Errorf("progress and text: got %q", stderr.String())
	}
	out, err := exec.CommandContext(t.Context(), build(t, "telltale"), "fleet", "-n", "1", "--mqtt", "127.0.0.1:9", "--cloud", cloud.dir, "--time", "10ms").CombinedOutput()
	if first, _, _ := strings.Cut(string(out), "\n"); err == nil || first != "127.0.0.1:9: dial: connect: connection refused" {
		t.Errorf("got %v and %q, want cause and address at once", err, out)
	}
	for name, args := range map[string][]string{
		"--cloud": {"--cloud", filepath.Join(t.TempDir(), "nothing")},
		"-n":      {"--cloud", cloud.dir, "-n", "0"},
		"--ca":    {"--cert", os.DevNull},
	} {
		out, err := exec.CommandContext(t.Context(), build(t, "telltale"), append([]string{"fleet", "--time", "1s"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), name) {
			t.Errorf("%v: got %v and %q, want an error that names %s", args, err, out, name)
		}
	}
}
