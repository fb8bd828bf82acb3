package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/scenario"
	"telltale.dev/simulator/shell"
	"telltale.dev/simulator/terminal"
	"telltale.dev/simulator/world"
)

// playing are the flags of every command that plays a scenario.
type playing struct {
	Data  string `placeholder:"DIR" help:"Keep everything there. Default: a new folder below .telltale."`
	JSON  bool   `name:"json" help:"Print the ledger as one JSON object on the last line."`
	JUnit string `name:"junit" placeholder:"FILE" help:"Write the checks as JUnit XML."`
	interfaces
	NATS world.NATS `embed:""`
}

// interfaces are the flags that put buses on the kernel's CAN.
type interfaces struct {
	Can []string `name:"can" sep:"none" placeholder:"[BUS=]INTERFACE" help:"A CAN interface of the kernel, such as vcan0, for the first bus, or BUS=INTERFACE. May be repeated; the other buses stay virtual."`
}

type Run struct {
	playing
	File string `arg:"" help:"The scenario file."`
}

// Run plays the file.
func (c *Run) Run(ctx context.Context) error {
	s, err := scenario.Load(c.File)
	if err != nil {
		return err
	}
	return c.play(ctx, s)
}

// demoFlush is how long a sample may wait for its Parquet file in a demonstration.
const demoFlush = 2 * time.Second

// ErrNotAsExpected makes the exit code say that the scenario failed.
var errNotAsExpected = errors.New("not everything was as expected")

// play plays a scenario and shows how it went.
func (c *playing) play(ctx context.Context, s *scenario.Scenario) error {
	s.Interfaces = c.Can
	dir, err := c.folder(s.Name)
	if err != nil {
		return err
	}
	var out io.Writer = os.Stdout
	if c.JSON {
		out = os.Stderr // the last line of standard output is for programs
	}
	w, err := world.New(world.Config{Dir: dir, NATS: c.NATS, Flush: demoFlush, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	result, err := scenario.New(s, w, scenario.NewScreen(out, terminal.Of(out))).Run(ctx)
	if err != nil {
		return fmt.Errorf("%w (logs in %s)", err, filepath.Join(dir, "logs"))
	}
	return c.show(result, w, out)
}

// show prints the result and where to look at the data.
func (c *playing) show(result *scenario.Result, w *world.World, out io.Writer) error {
	fmt.Fprintln(out)
	result.Table(out)
	files, err := ledger.ParquetFiles(w.Lake())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n  %d Parquet files in %s\n", len(files), shell.Relative(w.Lake()))
	fmt.Fprintf(out, "  look at them:  %s\n\n", shell.Command(shell.Ourselves(), "lake", shell.Relative(w.Lake())))
	if c.JUnit != "" {
		if err := c.writeJUnit(result); err != nil {
			return err
		}
	}
	if c.JSON {
		for _, l := range result.Ledgers {
			if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
				return err
			}
		}
	}
	if result.Failed() > 0 {
		return errNotAsExpected
	}
	return nil
}

func (c *playing) writeJUnit(result *scenario.Result) error {
	f, err := os.Create(c.JUnit)
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return errors.Join(result.JUnit(f), f.Close())
}

// folder is the data folder, a new one for each run unless the user chose one.
func (c *playing) folder(name string) (string, error) {
	if c.Data != "" {
		return c.Data, nil
	}
	if err := os.MkdirAll(".telltale", 0o700); err != nil {
		return "", fmt.Errorf("data folder: %w; choose another with --data", err)
	}
	dir, err := os.MkdirTemp(".telltale", name+"-")
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return dir, nil
}
