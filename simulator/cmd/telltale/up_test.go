package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ups starts telltale up in a folder of its own and gives the lines it prints. It ends with the test, in order.
func ups(t *testing.T, args ...string) (dir string, lines []string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("telltale", append([]string{"up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("got %v after Ctrl-C, want exit code 0", err)
		}
		if left, err := exec.Command("pgrep", "-fl", dir).Output(); err == nil {
			t.Errorf("left over: %s", left)
		}
	})
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if strings.HasPrefix(scan.Text(), "Ctrl-C") {
			return dir, lines
		}
		lines = append(lines, scan.Text())
	}
	t.Fatal("telltale up ended before it was ready")
	return "", nil
}

// line gives the one line that begins and ends with the given texts.
func line(t *testing.T, lines []string, begins, contains string) string {
	t.Helper()
	found := ""
	for _, l := range lines {
		if strings.HasPrefix(l, begins) && strings.Contains(l, contains) {
			if found != "" {
				t.Fatalf("got two lines %s … %s", begins, contains)
			}
			found = l
		}
	}
	if found == "" {
		t.Fatalf("got no line %s … %s in\n%s", begins, contains, strings.Join(lines, "\n"))
	}
	return found
}

// follow starts a line that goes on for ever and gives its output as it comes.
func follow(t *testing.T, dir, text string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(heard)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 16<<20)
		for scan.Scan() {
			select {
			case heard <- scan.Text():
			case <-ctx.Done(): // nobody listens any more
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; _ = cmd.Wait() })
	return heard
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// hear waits until a line contains a text.
func hear(t *testing.T, heard <-chan string, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-heard:
			if !ok {
				t.Fatalf("it ended before it said %q", text)
			}
			if strings.Contains(l, text) {
				return l
			}
		case <-timeout:
			t.Fatalf("it did not say %q within %v", text, patience)
		}
	}
}

// TestUpLines pastes every line that telltale up prints.
func TestUpLines(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, program := range []string{"curl", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	t.Parallel()
	home, lines := ups(t, "--speed", "10")
	dir := t.TempDir() // another folder than that of telltale up
	wire := follow(t, dir, line(t, lines, "mosquitto_sub", "| "))
	results := follow(t, dir, line(t, lines, "mosquitto_sub", "/result"))
	events := follow(t, dir, line(t, lines, "curl -N", "/events"))
	hear(t, wire, `"topic":"v1/anna/up/presence/tcu-a"`)
	hear(t, wire, `{"topic":"v1/anna/up/telemetry/everything","batch":{`)
	hear(t, events, `"SPEED"`)
	api := strings.Fields(line(t, lines, "curl -N", "/events"))[2]
	watch := follow(t, dir, "telltale watch anna --signal SPEED --api "+strings.TrimSuffix(api, "/v1/vehicles/anna/events"))
	hear(t, watch, "tcu-a is online")
	hear(t, watch, "can0 SPEED.SPEED = ")
	for path, want := range map[string]string{"/vehicles": `"vid":"anna"`, "/state": `"SPEED"`} {
		for _, l := range lines {
			if strings.HasPrefix(l, "curl http") && strings.HasSuffix(l, path) {
				if out, err := paste(t.Context(), dir, l); err != nil || !strings.Contains(out, want) {
					t.Errorf("%s: got %v and %.300s, want %s", l, err, out, want)
				}
			}
		}
	}
	second := follow(t, dir, line(t, lines, "", "telltale-agent run")+" 2>&1")
	hear(t, second, "msg=connected")
	hear(t, wire, `"topic":"v1/bert/up/presence/tcu-b"`)

	pushed := time.Now()
	if out, err := paste(t.Context(), dir, line(t, lines, "mosquitto_pub", "")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hear(t, results, `{"id":"slow","revision":1,"state":"ACTIVE"`)
	t.Logf("the campaign was active %v after it was pushed", time.Since(pushed))
	if out, err := paste(t.Context(), dir, line(t, lines, "telltale campaign push", "")); err != nil || !strings.Contains(out, "slow: 1 ACTIVE; 2 of 2 vehicles have answered") {
		t.Errorf("got %v and %s, want the campaign that was pushed before on both vehicles", err, out)
	}
	hear(t, wire, `{"topic":"v1/anna/up/telemetry/slow","batch":{`)
	listed(t, home)
	certificates(t, home)
	if out, err := paste(t.Context(), dir, line(t, lines, "telltale update", ".update")); err != nil || !strings.Contains(out, "2.0 (release 2) runs") {
		t.Errorf("got %v and %s, want a confirmed update", err, out)
	}
	hear(t, wire, `"topic":"v1/anna/up/update/tcu-a/feedback","update feedback":{`)
	if out, err := paste(t.Context(), dir, line(t, lines, "telltale update status", "")); err != nil || !strings.Contains(out, "tcu-a runs 2.0 (release 2) from slot B;") {
		t.Errorf("got %v and %s, want what runs", err, out)
	}
}

// listed looks at the campaigns beside a running world and takes one back.
func listed(t *testing.T, dir string) {
	t.Helper()
	for _, c := range []struct{ line, want string }{
		{"telltale campaign list", "everything  1"},
		{"telltale campaign show everything | telltale campaign check /dev/stdin", "everything revision 1: collects all (every sample)"},
		{"telltale campaign rm everything", "everything is taken back"},
		{"telltale campaign rm everything 2>&1 || true", "no campaign with this identifier"},
		{"telltale campaign show slow", "# anna     ACTIVE  1     -"},
	} {
		if out, err := paste(t.Context(), dir, c.line); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: got %v and %s, want %s", c.line, err, out, c.want)
		}
	}
}

// certificates issues some beside a running world and uses them.
func certificates(t *testing.T, dir string) {
	t.Helper()
	out, err := paste(t.Context(), dir, "telltale cert alice")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	elsewhere := t.TempDir()
	hear(t, follow(t, elsewhere, line(t, lines, "mosquitto_sub", "| ")), "v1/anna/up/")
	results := follow(t, elsewhere, line(t, lines, "mosquitto_sub", "/result"))
	publish := strings.NewReplacer("/ID", "/odd", "CAMPAIGN.yaml", "odd.yaml").Replace(line(t, lines, "mosquitto_pub", ""))
	if err := os.WriteFile(filepath.Join(dir, "odd.yaml"), []byte("kind: Nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 { // until the subscription stands
		if out, err := paste(t.Context(), dir, publish); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(results) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	hear(t, results, `"REJECTED"`)
	if out, err := paste(t.Context(), dir, "telltale cert carl tcu-c"); err != nil || !strings.HasPrefix(out, "/") || !strings.Contains(out, "telltale-agent run --data "+dir+"/.telltale/carl ") {
		t.Errorf("got %v and %s, want the agent's command line", err, out)
	}
	for _, c := range []struct{ args, want string }{
		{"../x", "telltale: issuing an operator certificate: "},
		{"a b --role operator", "telltale: --role operator: expected one NAME"},
		{"a b c", "telltale: --role device: expected VID DID"},
		{"a --role device", "telltale: --role device: expected VID DID"},
		{"a --cloud elsewhere", "telltale: --cloud elsewhere: expected the data folder of a cloud"},
	} {
		if out, err := paste(t.Context(), dir, "telltale cert "+c.args); err == nil || !strings.HasPrefix(out, c.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: got %v and %s, want %s", c.args, err, out, c.want)
		}
	}
}

// TestUpEmpty starts the cloud alone, asks it, and gets in its way.
func TestUpEmpty(t *testing.T) {
	t.Parallel()
	dir, lines := ups(t, "--empty")
	api := strings.TrimSuffix(strings.TrimPrefix(line(t, lines, "curl http", ""), "curl "), "/v1/vehicles")
	for _, c := range []struct {
		args, want string
		fails      bool
	}{
		{"vehicles --api " + api, "VEHICLE", false},
		{"vehicles --api " + strings.TrimPrefix(api, "http://"), "VEHICLE", false},
		{"vehicles", "VEHICLE", false}, // ports.json tells where
		{"vehicles --json", "[]", false},
		{"vehicles --api 127.0.0.1:9", "telltale: no cloud answers at http://127.0.0.1:9 ", true}, // what is asked for wins
		{"state nobody", "telltale: no vehicle with this identifier\n", true},
		{"state nobody --api " + api, "telltale: no vehicle with this identifier\n", true},
		{"state ../../metrics --api " + api, "telltale: ", true},
		{"watch nobody --api " + api, "telltale: no vehicle with this identifier\n", true},
		{"up --empty --mqtt 127.0.0.1:0 --http 127.0.0.1:0", "telltale: telltale-cloud ended unexpectedly (exit status 1): telltale-cloud: data directory is in use: ", true},
		{fmt.Sprintf("up --empty --data other --mqtt 127.0.0.1:0 --http %s", strings.TrimPrefix(api, "http://")),
			"telltale: --http " + strings.TrimPrefix(api, "http://") + ": address already in use: ", true},
		{"up --empty --data third --mqtt 127.0.0.1:0 --http 127.0.0.1:0 --nats nats://127.0.0.1:1",
			"telltale: telltale-cloud ended unexpectedly (exit status 1): telltale-cloud: ", true},
	} {
		out, err := paste(t.Context(), dir, "telltale "+c.args)
		if (err != nil) != c.fails || !strings.HasPrefix(out, c.want) || c.fails && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: got %v and %s, want %s", c.args, err, out, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("got a data folder, want the ports checked before anything is made")
	}
	if out, err := paste(t.Context(), dir, "telltale cert alice"); err != nil || strings.Contains(out, "-p 8883") || !strings.Contains(out, "inspect --api "+api+"\n") {
		t.Errorf("got %v and %s, want the ports of this world", err, out)
	}
}
