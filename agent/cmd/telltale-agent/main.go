// Command telltale-agent runs on the vehicle: it obtains frames from the CAN
// buses, stores batches of signals on disk and hands them to the cloud.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"telltale.dev/agent/power"
	"telltale.dev/agent/settings"
	"telltale.dev/agent/update"
	hal "telltale.dev/hal/power"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/supervisor"
	"telltale.dev/protocol"
)

type commands struct {
	Run     runCommand     `cmd:"" help:"Read the buses and send what campaigns want."`
	Status  statusCommand  `cmd:"" help:"Show what the agent that runs does: link, buses, campaigns, what waits."`
	Check   checkCommand   `cmd:"" help:"Look at buses, identity, clock, disk, link and cloud, and say what is wrong."`
	Ledger  ledgerCommand  `cmd:"" help:"Print the account of a stopped agent's data folder as JSON."`
	Slot    slotCommand    `cmd:"" help:"Look at the firmware slots, or change them by hand."`
	Version versionCommand `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// exitUsage is the exit code of a wrong command line, the same in all programs.
const exitUsage = 2

func main() {
	var c commands
	parsed, err := c.parse()
	var inFile *settings.FileError
	if errors.As(err, &inFile) { // the usage would not help
		fail(err)
	}
	if err != nil {
		if c.Run.Absent() || c.Check.Absent() || c.Status.Absent() { // the flags that are missing would stand there
			err = fmt.Errorf("no %s, and no --config names another file; without one: %w", settings.DefaultConfig, err)
		}
		fmt.Fprintf(os.Stderr, "telltale-agent: %v; --help shows how\n", err)
		os.Exit(exitUsage)
	}
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) && !supervisor.HangupReloads() { // the terminal goes, and nohup was not used
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run()
	if errors.Is(err, supervisor.ErrReload) {
		signal.Reset(ends...) // all is closed: who asks for the end now gets it at once
		if err = nil; ctx.Err() == nil {
			err = supervisor.Restart()
		}
	}
	if err != nil {
		fail(err)
	}
}

// parse reads the command line and the configuration file.
func (c *commands) parse() (*kong.Context, error) {
	return kong.Must(c, kong.Name("telltale-agent"), kong.Description("The Telltale vehicle agent."),
		kong.Vars{"version": protocol.BuildVersion()}).Parse(os.Args[1:])
}

// fail ends the program with an error, and the exit code that tells the supervisor what to do.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "telltale-agent:", err)
	if errors.Is(err, power.ErrStop) {
		os.Exit(hal.ExitPowerOff)
	}
	if errors.Is(err, update.ErrRestart) {
		os.Exit(slots.ExitRestart)
	}
	os.Exit(1)
}
