package runner_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/guest"
	"telltale.dev/firmware-images/qemu"
	"telltale.dev/firmware-images/runner"
)

// sample compiles the test binary of testdata/sample for the guest, once.
var sample = sync.OnceValues(func() (string, error) {
	out := filepath.Join(os.TempDir(), "telltale-runner-sample.test")
	cmd := exec.Command("go", "test", "-c", "-cover", "-o", out, "./testdata/sample")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(text))
	}
	return out, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if out, err := sample(); err == nil {
		os.Remove(out)
	}
	os.Exit(code)
}

// outcome is what a run gave.
type outcome struct {
	result         runner.Result
	err            error
	stdout, stderr string
}

// boot runs one test of the sample in a guest.
// Only make test-vm asks for it; even there it skips where QEMU or apt is missing and nobody promised it.
func boot(t *testing.T, test string, change func(*runner.Config)) outcome {
	t.Helper()
	if os.Getenv("TELLTALE_VM") == "" {
		t.Skip("TELLTALE_VM is not set: it boots a virtual machine; make test-vm does it")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command")
	}
	program, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cfg := runner.Config{Arch: qemu.ARM64, Program: program, Args: []string{"-test.v", "-test.run", "^" + test + "$"},
		Dir: filepath.Join("testdata", "sample"), With: []string{"firmware-images/runner/runner.go"},
		Env: []string{"TELLTALE_WORD=a = b, c"}, Timeout: 2 * time.Minute, Stdout: &stdout, Stderr: &stderr}
	if change != nil {
		change(&cfg)
	}
	var o outcome
	o.result, o.err = runner.Run(t.Context(), cfg)
	if (errors.Is(o.err, qemu.ErrMissing) || errors.Is(o.err, debian.ErrUnavailable)) && os.Getenv("CI") != "true" {
		t.Skip(o.err)
	}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	return o
}

func TestWorld(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "cover.out")
	o := boot(t, "TestWorld", func(cfg *runner.Config) {
		cfg.Args = append(cfg.Args, "-test.coverprofile", profile)
		cfg.Modules, cfg.Shell = []guest.Module{{Name: "dummy", Params: "numdummies=3"}}, true
	})
	if o.err != nil || o.result.ExitCode != 0 {
		t.Fatalf("got exit code %d, %v\n%s%s", o.result.ExitCode, o.err, o.stdout, o.stderr)
	}
	if !strings.Contains(o.stdout, "--- PASS: TestWorld") || !strings.Contains(o.stderr, "said on standard error") {
		t.Errorf("output %q, errors %q", o.stdout, o.stderr)
	}
	if text, err := os.ReadFile(profile); err != nil || !strings.HasPrefix(string(text), "mode: ") {
		t.Errorf("coverage profile: %.20q, %v", text, err)
	}
	if r := o.result; r.Kernel == "" || r.Init <= 0 || r.Total < r.Init {
		t.Errorf("got %q, init after %v, %v in all", r.Kernel, r.Init, r.Total)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for test, c := range map[string]struct {
		code int
		says string // on either output
	}{
		"TestFail":   {code: 1, says: "as told"},
		"TestPanic":  {code: 2, says: "goroutine "},
		"TestKilled": {code: 137, says: ""},
	} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			o := boot(t, test, nil)
			if o.err != nil || o.result.ExitCode != c.code || !strings.Contains(o.stdout+o.stderr, c.says) {
				t.Errorf("got exit code %d, %v, want %d and %q\n%s%s", o.result.ExitCode, o.err, c.code, c.says, o.stdout, o.stderr)
			}
		})
	}
}

func TestLongOutputIsWhole(t *testing.T) {
	t.Parallel()
	o := boot(t, "TestLong", nil)
	if o.err != nil || o.result.ExitCode != 0 {
		t.Fatalf("got exit code %d, %v", o.result.ExitCode, o.err)
	}
	if n := strings.Count(o.stdout, strings.Repeat("x", 99)+"\n"); n != 30_000 {
		t.Errorf("got %d lines, want 30000", n)
	}
}

// TestNoResult is about guests that end, or would never end, without an exit code.
func TestNoResult(t *testing.T) {
	t.Parallel()
	for test, want := range map[string]string{
		"TestPowerOff":    "it ended by itself",
		"TestKernelPanic": "kernel panic",
		"TestHang":        "time-out after 6s",
	} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			o := boot(t, test, func(cfg *runner.Config) {
				if test == "TestHang" {
					cfg.Timeout = 6 * time.Second
				}
			})
			if !errors.Is(o.err, runner.ErrGuest) || !strings.Contains(o.err.Error(), want) {
				t.Errorf("got exit code %d, %v, want ErrGuest, %s", o.result.ExitCode, o.err, want)
			}
			if !strings.Contains(o.err.Error(), "the console's last lines") {
				t.Errorf("got %v, want the console's last lines in it", o.err)
			}
		})
	}
}

func TestModuleErrors(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]guest.Module{
		"load module dummy: invalid argument":             {Name: "dummy", Params: "numdummies=many"},
		"module no_such_thing: kernel has no such module": {Name: "no-such-thing"},
	} {
		o := boot(t, "TestWorld", func(cfg *runner.Config) { cfg.Modules = []guest.Module{m} })
		if o.err == nil || !strings.Contains(o.err.Error(), want) {
			t.Errorf("got %v, want %q", o.err, want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := runner.Run(ctx, runner.Config{Arch: qemu.ARM64, Program: "x", Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestConfigErrors(t *testing.T) {
	out := &bytes.Buffer{}
	for name, c := range map[string]struct {
		cfg  runner.Config
		want string
	}{
		"no program":   {runner.Config{Arch: qemu.ARM64, Stdout: out, Stderr: out}, "expected Program"},
		"architecture": {runner.Config{Arch: "mips", Program: "x", Stdout: out, Stderr: out}, "expected arm64, armhf or amd64"},
		"no module":    {runner.Config{Arch: qemu.ARM64, Program: "x", Dir: t.TempDir(), Stdout: out, Stderr: out}, "found no go.mod"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := runner.Run(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
