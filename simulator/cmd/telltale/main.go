// Command telltale drives vehicles from the developer's command line: it plays
// recordings and scenarios against a real agent and cloud, and looks at what arrived.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"telltale.dev/simulator/cli"
)

type commands struct {
	Demo     cli.Demo       `cmd:"" help:"Drive a recording through faults and add up the ledger."`
	Run      cli.Run        `cmd:"" help:"Play a scenario file."`
	Up       cli.Up         `cmd:"" help:"Keep a cloud and a driving vehicle running until Ctrl-C."`
	Decode   cli.Decode     `cmd:"" help:"Decode a log: a tab-separated line for each signal."`
	DBC      cli.DBC        `cmd:"" name:"dbc" help:"Look at DBC files."`
	Campaign cli.Campaign   `cmd:"" help:"Say what vehicles collect: push, list, show, remove and check campaigns."`
	Vehicles cli.Vehicles   `cmd:"" help:"List the vehicles of a cloud."`
	State    cli.State      `cmd:"" help:"Show the last known state of a vehicle."`
	Watch    cli.Watch      `cmd:"" help:"Follow a vehicle live."`
	Update   cli.Update     `cmd:"" help:"Change a vehicle's firmware, and tell how that stands."`
	Firmware cli.Firmware   `cmd:"" help:"Make keys for update files, sign and look at them."`
	Inspect  cli.Inspect    `cmd:"" help:"Show a batch or document as JSON."`
	Lake     cli.Lake       `cmd:"" help:"Sum up the Parquet files of a lake."`
	Cert     cli.Cert       `cmd:"" help:"Issue a development certificate and show how to use it."`
	Fleet    cli.Fleet      `cmd:"" help:"Drive many light vehicles at once: load for a cloud or another broker."`
	Version  versionCommand `cmd:"" help:"Print the version."`
}

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as shells say it of SIGINT
)

func main() { os.Exit(run(os.Args[1:])) }

// run carries out one command line and gives the exit code. A second Ctrl-C ends the program at once.
func run(args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "--version" { // no flag of all commands: firmware sign has another one of that name
		args = []string{"version"}
	}
	parser := kong.Must(&commands{}, kong.Name("telltale"), kong.Description("The Telltale simulator."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	parsed, err := parser.Parse(args)
	if err == nil {
		err = givenTwice(parsed)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "telltale: %v; --help shows how\n", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run()
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "telltale: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "telltale:", err)
	return exitFailed
}

// givenTwice refuses a flag that is given again though only the last one would count.
func givenTwice(parsed *kong.Context) error {
	seen := map[*kong.Flag]bool{}
	for _, element := range parsed.Path {
		f := element.Flag
		if f == nil || f.IsCumulative() || f.IsBool() {
			continue
		}
		if seen[f] {
			return fmt.Errorf("--%s: expected once", f.Name)
		}
		seen[f] = true
	}
	return nil
}
