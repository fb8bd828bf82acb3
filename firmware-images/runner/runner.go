// Package runner runs a program, usually the tests of a package, on a real
// Linux kernel of another architecture: it packs the program, an init and
// kernel modules into an initramfs, boots Debian's kernel in QEMU, and passes
// on arguments, environment, files, output and exit code.
//
// The guest has no network but lo, no disk but memory, and one vehicle-like
// set of devices: CAN modules loaded, two CAN controllers on one bus where
// there is PCI (arm64, amd64), and /dev/tpmrm0 when swtpm is installed.
// It ends with the program.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/guest"
	"telltale.dev/firmware-images/qemu"
)

// ErrGuest is wrapped by Run when the guest ended, or had to be ended, before
// it told the program's exit code.
var ErrGuest = errors.New("the guest gave no result")

// Config of a run.
type Config struct {
	Arch    qemu.Arch
	Program string         // path of a static Linux program for Arch
	Args    []string       // paths of outputs of the testing package (-test.coverprofile and such) are those of the host
	Env     []string       // KEY=value, all of it goes to the guest
	Dir     string         // folder whose content the program finds as its working directory; "": the current one
	With    []string       // further files or folders of the Go module that the program finds, relative to the module's root
	Modules []guest.Module // kernel modules besides Modules
	Timeout time.Duration  // of the whole run; 0: none but the context's
	Memory  int            // MiB; 0: 512
	CPU     string         // QEMU's name of the processor; empty: see qemu.Config
	CPUs    int            // 0: two
	NoTPM   bool           // no TPM even if swtpm is installed
	Shell   bool           // Debian's busybox in /bin as sh, ip and unshare, for what people type
	Stdout  io.Writer      // the program's output; must be set
	Stderr  io.Writer
	Console io.Writer // a copy of the kernel's console; nil: none
}

// Result of a run that came to its end.
type Result struct {
	ExitCode int           // of the program; 128 plus its number when a signal killed it
	Kernel   string        // release
	Init     time.Duration // from the start of QEMU until the guest's init runs
	Total    time.Duration // from the start of QEMU until the exit code
	Console  string        // what the kernel's console printed
}

// modules are the kernel modules that every guest loads, as far as they are not
// built in, behind those of the channel to the host.
var modules = []string{"virtio_rng",
	"can", "can-raw", "can-bcm", "can-gw", "can-isotp", "can-j1939", "can-dev", "vcan", "vxcan", "sch_netem", "tpm_vtpm_proxy"}

// controllers is the number of CAN controllers, all on one bus; the guest's interfaces are can0 and can1, not set up.
const controllers = 2

// Run runs the program in a guest of its own.
func Run(ctx context.Context, cfg Config) (Result, error) {
	p, err := prepare(ctx, &cfg)
	if p != nil {
		defer os.RemoveAll(p.dir)
	}
	if err != nil {
		return Result{}, err
	}
	if cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Timeout)
		defer cancel()
	}
	vm := qemu.Config{Arch: cfg.Arch, Memory: cfg.Memory, CPU: cfg.CPU, CPUs: cfg.CPUs, Kernel: p.kernel.Image, Initrd: p.initrd,
		Append: commandLine(cfg.Arch), Channels: []string{guest.Channel}, MonitorChannel: guest.Monitor, Console: cfg.Console}
	if qemu.HasCAN(cfg.Arch) {
		vm.CAN = controllers
	}
	if p.tpm {
		tpm, err := qemu.StartTPM(ctx, cfg.Arch, p.dir)
		if err != nil {
			return Result{}, err
		}
		defer tpm.Close()
		vm.TPM = tpm
	}
	start := time.Now()
	m, err := qemu.Start(ctx, vm)
	if err != nil {
		return Result{}, err
	}
	defer m.Close()
	result := Result{Kernel: p.kernel.Release}
	l := listener{stdout: cfg.Stdout, stderr: cfg.Stderr, outputs: p.outputs,
		hello: func() { result.Init = time.Since(start) }}
	result.ExitCode, err = l.listen(m.Channel(guest.Channel))
	result.Total = time.Since(start)
	if err != nil {
		<-endOf(m)
		err = explain(ctx, err, cfg.Timeout, m.Output())
	}
	result.Console = m.Output()
	return result, err
}

// explain says why the guest gave no result.
func explain(ctx context.Context, err error, timeout time.Duration, console string) error {
	var why error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		why = fmt.Errorf("%w: time-out after %v", ErrGuest, timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case panicked.MatchString(console):
		why = fmt.Errorf("%w: kernel panic", ErrGuest)
	case errors.Is(err, io.EOF):
		why = fmt.Errorf("%w: it ended by itself", ErrGuest)
	default:
		why = fmt.Errorf("%w: %w", ErrGuest, err)
	}
	return fmt.Errorf("runner: %w; the console's last lines:\n%s", why, qemu.Tail(console, consoleTail))
}

// endOf waits a moment for the console's last words when the guest is dying.
func endOf(m *qemu.Machine) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-m.Done():
		case <-time.After(dying):
		}
	}()
	return ended
}

// ModuleRoot finds the folder of go.mod at or above dir.
func ModuleRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("runner: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New("runner: expected to run inside the Go module: found no go.mod here or above")
		}
	}
}

// DebianArch is Debian's name of an architecture.
func DebianArch(arch qemu.Arch) debian.Arch {
	if arch == qemu.ARM {
		return debian.ARMHF
	}
	return debian.Arch(arch)
}
