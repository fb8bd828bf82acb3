// Command telltale-vm runs a Go test binary, or any static Linux program, on a
// real kernel in a virtual machine. It is made for go test:
//
//	go build -o .cache/bin/ ./firmware-images/cmd/telltale-vm
//	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go test -exec "$PWD/.cache/bin/telltale-vm -arch arm64" ./hal/canbus/socketcan
//
// The exit code is the program's own; 125 when the guest gave none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"telltale.dev/firmware-images/guest"
	"telltale.dev/firmware-images/qemu"
	"telltale.dev/firmware-images/runner"
)

// noResult is the exit code when the program's own is unknown.
const noResult = 125

// bootTime is added to a test binary's own time-out: QEMU starts, and the test tells where it hung.
const bootTime = 60 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "telltale-vm:", err)
		os.Exit(noResult)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("telltale-vm", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: telltale-vm [flags] program [arguments]")
		flags.PrintDefaults()
	}
	cfg := runner.Config{Stdout: os.Stdout, Stderr: os.Stderr, Env: environment(os.Environ())}
	arch := flags.String("arch", "arm64", "architecture of the program: arm64, arm or amd64")
	flags.IntVar(&cfg.Memory, "memory", 0, "memory of the guest in MiB; 0: 512")
	flags.StringVar(&cfg.CPU, "cpu", "", "QEMU's name of the guest's processor; empty: the oldest that the kernel is for")
	flags.IntVar(&cfg.CPUs, "cpus", 0, "processors of the guest; 0: two")
	flags.DurationVar(&cfg.Timeout, "timeout", 0, "for the whole run; 0: the test's own time-out and a minute, or 10 minutes")
	flags.BoolVar(&cfg.NoTPM, "no-tpm", false, "no TPM in the guest")
	flags.BoolVar(&cfg.Shell, "shell", false, "a shell in the guest: Debian's busybox as sh, ip and unshare in /bin")
	console := flags.Bool("console", false, "print the kernel's console on standard error")
	flags.Func("with", "further `path` of the Go module that the program finds, relative to the module's root (repeatable)",
		func(v string) error { cfg.With = append(cfg.With, v); return nil })
	flags.Func("module", "further kernel module, as `name[:parameters]` (repeatable)", func(v string) error {
		name, params, _ := strings.Cut(v, ":")
		cfg.Modules = append(cfg.Modules, guest.Module{Name: name, Params: params})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 0, err
	}
	if flags.NArg() == 0 {
		return 0, errors.New("expected a program; telltale-vm -h lists the flags")
	}
	cfg.Arch, cfg.Program, cfg.Args = qemu.Arch(*arch), flags.Arg(0), flags.Args()[1:]
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Minute
		if own := runner.TestTimeout(cfg.Args); own > 0 {
			cfg.Timeout = own + bootTime
		}
	}
	if *console {
		cfg.Console = os.Stderr
	}
	result, err := runner.Run(ctx, cfg)
	if err != nil {
		return 0, err
	}
	if result.ExitCode > 128 {
		fmt.Fprintf(os.Stderr, "telltale-vm: the program was killed; the console's last lines:\n%s\n", qemu.Tail(result.Console, 20))
	}
	fmt.Fprintf(os.Stderr, "telltale-vm: %s: start to init %.2f s, whole run %.2f s\n",
		result.Kernel, result.Init.Seconds(), result.Total.Seconds())
	return result.ExitCode, nil
}

// environment chooses what of the host's environment matters to a test. CI is
// not among it: it promises programs that are installed on the host.
func environment(all []string) []string {
	var chosen []string
	for _, e := range all {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "GOTRACEBACK", "GODEBUG", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "TZ":
			chosen = append(chosen, e)
		default:
			if strings.HasPrefix(name, "TELLTALE_") {
				chosen = append(chosen, e)
			}
		}
	}
	return chosen
}
