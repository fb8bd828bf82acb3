// Command telltale-image builds the firmware images of boards, gives a disk
// image an identity, and runs the virtual board.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Build    buildCommand    `cmd:"" help:"Build a board's disk image, update file and bill of materials."`
	Run      runCommand      `cmd:"" help:"Run the virtual board beside a cloud, with recorded frames on its bus."`
	Identity identityCommand `cmd:"" help:"Give a disk image the identity of a device."`
}

func main() {
	var c commands
	parsed := kong.Parse(&c, kong.Name("telltale-image"), kong.UsageOnError(), kong.Description("Firmware images of the Telltale vehicle agent."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "telltale-image:", err)
		os.Exit(1)
	}
}
