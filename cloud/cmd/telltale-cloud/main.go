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
)

type commands struct {
	Run     runCommand     `cmd:"" default:"withargs" help:"Serve vehicles and the API."`
	DevCert devCertCommand `cmd:"" help:"Issue a certificate of the development authority."`
	Openapi openapiCommand `cmd:"" help:"Print the description of the HTTP API as YAML."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	var c commands
	parsed := kong.Parse(&c, kong.Name("telltale-cloud"), kong.Description("The Telltale vehicle cloud."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "telltale-cloud:", strings.ReplaceAll(err.Error(), "\n", "; ")) // joined errors have lines
		os.Exit(1)
	}
}
