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
	cli.Commands

	Version versionCommand `cmd:"" help:"Print the version."`
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
	if asked, err := cli.Complete(parser); asked {
		if err != nil {
			return exitFailed // a word on the shell's line would be in the way
		}
		return 0
	}
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
