// Command telltale-dist makes what is given to others: for each architecture static, stripped programs
// (telltale-agent, telltale-cloud, telltale) and a Debian package around each, with the sums of all
// and the licences of what they are made of. The same source gives the same bytes.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"telltale.dev/agent/dist"
)

type command struct {
	Out     string   `required:"" type:"path" placeholder:"DIR" help:"Folder for the files."`
	Version string   `placeholder:"VERSION" help:"Default: from the commit."`
	Epoch   int64    `env:"SOURCE_DATE_EPOCH" placeholder:"SECONDS" help:"Time of everything inside. Default: that of the commit."`
	Arch    []string `default:"arm64,armv7,amd64" help:"Which architectures."`
	Product []string `default:"telltale-agent,telltale-cloud,telltale" help:"Which programs."`
}

func main() {
	var c command
	kong.Parse(&c, kong.Name("telltale-dist"), kong.Description("Make the programs and their packages."))
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, "telltale-dist:", err)
		os.Exit(1)
	}
}

func (c *command) run() error {
	if c.Version == "" || c.Epoch == 0 {
		version, epoch, err := dist.Commit()
		if err != nil {
			return err
		}
		if c.Version == "" {
			c.Version = version
		}
		if c.Epoch == 0 {
			c.Epoch = epoch
		}
	}
	made, err := dist.Build(c.Out, c.Version, time.Unix(c.Epoch, 0).UTC(), c.Arch, c.Product...)
	if err != nil {
		return err
	}
	for _, f := range made {
		fmt.Printf("%10d  %s\n", f.Size, f.Name)
	}
	return nil
}
