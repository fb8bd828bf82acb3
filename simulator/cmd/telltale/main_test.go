package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain builds the three programs once and puts them on PATH.
func TestMain(m *testing.M) {
	if config := os.Getenv(natsConfig); config != "" {
		os.Exit(natsMain(config))
	}
	os.Exit(withPrograms(m))
}

func withPrograms(m *testing.M) int {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" { // fuzzing needs none, and ends its workers without a word
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "telltale-cmd-")
	if err == nil {
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir, "./agent/cmd/...", "./cloud/cmd/...", "./simulator/cmd/...")
		build.Dir = "../../.."
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = errors.Join(build.Run(), os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	if err := flag.Set("test.parallel", "4"); err != nil { // most of the time they wait
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestScripts runs testdata/*.txtar: what a person can do on the command line.
// $R is the folder of the recordings, $S that of the scenarios.
func TestScripts(t *testing.T) {
	simulator, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("R", filepath.Join(simulator, "recordings"))
			env.Setenv("S", filepath.Join(simulator, "scenarios"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"await":  await,
			"gone":   gone,
			"ledger": sums,
		},
		RequireExplicitExec: true,
	})
}

// exits runs a program and checks its exit code: exits CODE PROGRAM ARG…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("got exit code %d, want %d", got, want)
	}
}

// await waits until a file holds a text: await FILE TEXT
func await(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && bytes.Contains(text, []byte(args[1])) {
			return
		}
	}
	ts.Fatalf("%s did not show %q in time", args[0], args[1])
}

// gone checks that no process has a folder on its command line any more: gone FOLDER
func gone(ts *testscript.TestScript, _ bool, args []string) {
	left, err := exec.Command("pgrep", "-fl", ts.MkAbs(args[0])).Output()
	if err == nil {
		ts.Fatalf("left over: %s", left)
	}
}

// ledgerKeys are what the ledger tells, in its order.
var ledgerKeys = []string{
	"frames_sent", "frames_received", "frames_unpowered", "frames_dropped", "frames_decoded", "frames_unknown",
	"samples_collected", "samples_unpowered", "samples_evicted", "samples_stored", "lost", "duplicated",
	"batches_stored", "payload_bytes", "wire_bytes", "bytes_per_sample", "seconds",
}

// sums checks that the last line of a file is a ledger that adds up: ledger FILE KEY=NUMBER…
func sums(ts *testscript.TestScript, _ bool, args []string) {
	lines := bytes.Split(bytes.TrimSpace([]byte(ts.ReadFile(args[0]))), []byte("\n"))
	var l map[string]float64
	ts.Check(json.Unmarshal(lines[len(lines)-1], &l))
	for _, key := range ledgerKeys {
		if _, ok := l[key]; !ok {
			ts.Fatalf("the ledger has no %s", key)
		}
	}
	if len(l) != len(ledgerKeys) {
		ts.Fatalf("got %d keys, want %d", len(l), len(ledgerKeys))
	}
	if l["frames_sent"] != l["frames_received"]+l["frames_unpowered"]+l["frames_dropped"] ||
		l["frames_received"] != l["frames_decoded"]+l["frames_unknown"] ||
		l["samples_collected"] != l["samples_stored"]+l["samples_evicted"] || l["lost"]+l["duplicated"] != 0 {
		ts.Fatalf("the ledger does not add up: %s", lines[len(lines)-1])
	}
	for _, arg := range args[1:] {
		i := slices.Index([]byte(arg), '=')
		want, err := strconv.ParseFloat(arg[i+1:], 64)
		ts.Check(err)
		if got := l[arg[:i]]; got != want {
			ts.Fatalf("%s: got %v, want %v", arg[:i], got, want)
		}
	}
}

// paste carries out a line in a shell, as somebody who pastes it does, and gives its output; errors of the line are the caller's.
func paste(ctx context.Context, dir, line string) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
