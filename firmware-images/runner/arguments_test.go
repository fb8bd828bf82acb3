package runner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/firmware-images/runner"
)

func TestTestArguments(t *testing.T) {
	for name, c := range map[string]struct{ args, guest, outputs string }{
		"nothing to do":  {args: "-test.v=true -test.run=^TestX$", guest: "-test.v=true -test.run=^TestX$"},
		"go test's own":  {args: "-test.testlogfile=/tmp/b/testlog.txt -test.paniconexit0 -test.timeout=10m0s", guest: "-test.paniconexit0 -test.timeout=10m0s"},
		"a profile":      {args: "-test.cpuprofile=cpu.out -test.outputdir=/host", guest: "-test.cpuprofile=/telltale/out/0", outputs: "/host/cpu.out"},
		"two files":      {args: "--test.coverprofile /a/c.out -test.trace=t.out", guest: "-test.coverprofile=/telltale/out/0 -test.trace=/telltale/out/1", outputs: "/a/c.out /dir/t.out"},
		"behind a dash":  {args: "-test.v -- -test.trace=t.out", guest: "-test.v -- -test.trace=t.out"},
		"behind a value": {args: "-test.run ^X$ -test.trace=t.out", guest: "-test.run ^X$ -test.trace=/telltale/out/0", outputs: "/dir/t.out"},
		"a missing name": {args: "-test.trace", guest: "-test.trace=/telltale/out/0", outputs: "/dir"},
	} {
		t.Run(name, func(t *testing.T) {
			guest, outputs := runner.TestArguments(strings.Fields(c.args), "/dir")
			if got := strings.Join(guest, " "); got != c.guest {
				t.Errorf("for the guest: got %s, want %s", got, c.guest)
			}
			if !slices.Equal(outputs, strings.Fields(c.outputs)) {
				t.Errorf("outputs: got %q, want %q", outputs, c.outputs)
			}
		})
	}
}

func TestTestTimeout(t *testing.T) {
	for args, want := range map[string]time.Duration{
		"-test.v -test.timeout=2m": 2 * time.Minute, "-test.timeout 3s": 3 * time.Second, "": 0, "-test.timeout=soon": 0,
		"-- -test.timeout=2m": 0,
	} {
		if got := runner.TestTimeout(strings.Fields(args)); got != want {
			t.Errorf("%q: got %v, want %v", args, got, want)
		}
	}
}
