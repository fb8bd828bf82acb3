package qemu_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/qemu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noKernel is what a kernel says that was given no file system; it is the last thing it says.
const noKernel = "Unable to mount root fs"

// kernel is Debian's for arm64 from the cache of the make targets.
func kernel(t *testing.T) string {
	t.Helper()
	if os.Getenv("TELLTALE_VM") == "" {
		t.Skip("TELLTALE_VM is not set: it boots a virtual machine; make test-vm does it")
	}
	c, err := debian.New(debian.Config{Dir: filepath.Join("..", "..", ".cache", "debian")})
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.Kernel(t.Context(), debian.ARM64)
	promised(t, err)
	return k.Image
}

// promised ends the test at an error: without a word of failure when a program
// or apt is missing on a newcomer's machine.
func promised(t *testing.T, err error) {
	t.Helper()
	if (errors.Is(err, qemu.ErrMissing) || errors.Is(err, debian.ErrUnavailable)) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, cfg qemu.Config) *qemu.Machine {
	t.Helper()
	m, err := qemu.Start(t.Context(), cfg)
	promised(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// idle is a machine whose processor does nothing for ever.
func idle(t *testing.T, change func(*qemu.Config)) qemu.Config {
	t.Helper()
	bios := filepath.Join(t.TempDir(), "bios")
	if err := os.WriteFile(bios, []byte{0, 0, 0, 0x14}, 0o600); err != nil { // b .
		t.Fatal(err)
	}
	cfg := qemu.Config{Arch: qemu.ARM64, BIOS: bios, Memory: 64}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func TestConsoleAndEnd(t *testing.T) {
	t.Parallel()
	var echo bytes.Buffer
	m := start(t, qemu.Config{Arch: qemu.ARM64, Kernel: kernel(t), Append: "console=ttyAMA0 panic=-1", Console: &echo})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, text := range []string{"Linux version", noKernel} {
		if err := m.WaitFor(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Wait(ctx); err != nil { // the restart after the panic is the end
		t.Error(err)
	}
	err := m.WaitFor(ctx, "Linux version")
	if err == nil || !strings.Contains(err.Error(), "the guest has ended") || !strings.Contains(err.Error(), noKernel) {
		t.Errorf("waiting for what was found before, on an ended guest: got %v", err)
	}
	if !strings.Contains(m.Output(), noKernel) || echo.String() != m.Output() {
		t.Errorf("output of %d bytes, copy of %d", len(m.Output()), echo.Len())
	}
}

func TestReboots(t *testing.T) {
	t.Parallel()
	m := start(t, qemu.Config{Arch: qemu.ARM64, Kernel: kernel(t), Append: "console=ttyAMA0 panic=-1", Reboots: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		if err := m.WaitFor(ctx, noKernel); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKill(t *testing.T) {
	m := start(t, idle(t, func(cfg *qemu.Config) { cfg.Channels = []string{"x"} }))
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := m.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: got %v, want a time-out", err)
	}
	if err := m.WaitFor(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitFor: got %v, want a time-out", err)
	}
	m.Kill()
	if _, err := m.Channel("x").Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the channel of a killed guest: got %v, want io.EOF", err)
	}
	if err := m.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Wait behind Kill: got %v, want that it was killed", err)
	}
	m.Kill()
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, err := qemu.Start(ctx, idle(t, nil))
	promised(t, err)
	defer m.Close()
	cancel()
	select {
	case <-m.Done():
	case <-time.After(20 * time.Second):
		t.Error("QEMU outlives its context")
	}
}

func TestQEMUComplains(t *testing.T) {
	m := start(t, idle(t, func(cfg *qemu.Config) { cfg.Args = []string{"-device", "no-such-device"} }))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.Wait(ctx); err == nil || !strings.Contains(err.Error(), "no-such-device") {
		t.Errorf("got %v, want what QEMU said", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]qemu.Config{
		"expected arm64, arm or amd64":    {Arch: "mips", Kernel: "k"},
		"expected one of Kernel and BIOS": {Arch: qemu.ARM64},
		"expected Network":                {Arch: qemu.ARM64, Kernel: "k", Forward: map[int]int{1: 1}},
		"channel \"a,b\"":                 {Arch: qemu.ARM64, Kernel: "k", Channels: []string{"a,b"}},
		"drive: stat none":                {Arch: qemu.ARM64, Kernel: "k", Drives: []qemu.Drive{{Path: "none"}}},
		"not below 0":                     {Arch: qemu.ARM64, Kernel: "k", CPUs: -1},
	} {
		if _, err := qemu.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	t.Setenv("PATH", "")
	if _, err := qemu.Start(t.Context(), qemu.Config{Arch: qemu.ARM64, Kernel: "k"}); !errors.Is(err, qemu.ErrMissing) {
		t.Errorf("without QEMU: got %v, want ErrMissing", err)
	}
	if _, err := qemu.StartTPM(t.Context(), qemu.ARM64, t.TempDir()); !errors.Is(err, qemu.ErrMissing) {
		t.Errorf("without swtpm: got %v, want ErrMissing", err)
	}
}

func TestTPM(t *testing.T) {
	for _, arch := range []qemu.Arch{qemu.ARM64, qemu.AMD64} {
		tpm, err := qemu.StartTPM(t.Context(), arch, t.TempDir())
		promised(t, err)
		tpm.Close()
		tpm.Close()
	}
	if _, err := qemu.StartTPM(t.Context(), qemu.ARM64, filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "expected a folder that exists") {
		t.Errorf("a state folder that does not exist: got %v", err)
	}
}

func TestTail(t *testing.T) {
	if got, want := qemu.Tail("a\r\nb\r\nc\r\n\r\n", 2), "b\nc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
