// Command telltale-cloud is the cloud: it obtains messages from vehicles over
// MQTT, stores them before it acknowledges them, and serves what became of them over HTTP.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"telltale.dev/protocol"
)

type commands struct {
	Run     runCommand     `cmd:"" default:"withargs" help:"Serve vehicles and the API."`
	DevCert devCertCommand `cmd:"" help:"Issue a certificate of the development authority."`
	Openapi openapiCommand `cmd:"" help:"Print the description of the HTTP API as YAML."`
	Version versionCommand `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// exitUsage is the exit code of a wrong command line, the same in all programs.
const exitUsage = 2

func main() {
	var c commands
	parser := kong.Must(&c, kong.Name("telltale-cloud"), kong.Description("The Telltale vehicle cloud."),
		kong.Vars{"version": protocol.BuildVersion()})
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "telltale-cloud: %v; --help shows how\n", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "telltale-cloud:", strings.ReplaceAll(err.Error(), "\n", "; ")) // joined errors have lines
		os.Exit(1)
	}
}
