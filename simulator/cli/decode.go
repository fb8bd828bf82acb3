package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/decode"
	"telltale.dev/simulator/drive"
)

type Decode struct {
	Recording
	Signal  []string `sep:"none" placeholder:"GLOB" help:"Only signals whose name matches, or bus.message.signal where the glob has dots. May be repeated."`
	Header  bool     `help:"First a line with the names of the columns."`
	Time    bool     `help:"A column with the frame's time, in UTC."`
	Text    bool     `help:"A column with what the DBC file calls the value."`
	CSV     bool     `name:"csv" help:"Separated by commas, with header, time and text."`
	Rounded bool     `help:"Values with no more decimals than the DBC file's factor and offset: 36.24, not 36.239999999999995."`
	Log     string   `arg:"" help:"A log of candump, Vector ASC, PEAK TRC or SavvyCAN CSV, plain or zstd; - is standard input, such as of candump can0 |"`
}

// Run prints frame number, bus, message, signal, raw, physical and unit of every signal.
func (c *Decode) Run(ctx context.Context) error {
	options, err := c.Options()
	if err != nil {
		return err
	}
	if !c.Bare() {
		if _, err := c.Buses(); err != nil { // before the log is opened
			return err
		}
	}
	log, err := decode.Open(ctx, c.Log, options, c.Bare())
	if err != nil {
		return err
	}
	defer log.Close()
	buses, err := c.Buses(log.Names...)
	if err != nil {
		return err
	}
	list, err := Sources(buses)
	if err != nil {
		return err
	}
	return c.print(ctx, log, list)
}

// print writes all signals, and on standard error what may be wrong with log and DBC files.
func (c *Decode) print(ctx context.Context, log *decode.Input, list []dbc.Source) error {
	plan, _, err := dbc.Compile(list)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	printer, err := decode.New(plan, out, decode.Form{Header: c.Header, Time: c.Time, Text: c.Text, CSV: c.CSV, Rounded: c.Rounded}, c.Signal)
	if err != nil {
		return err
	}
	err = log.Print(ctx, printer)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	Warn(log.Problems(), log.Counts().Bad, "lines could not be read")
	Warn(log.Warnings(), len(log.Warnings()), "warnings")
	for _, line := range printer.Long() {
		fmt.Fprintln(os.Stderr, line)
	}
	if err != nil {
		return err
	}
	for _, name := range plan.Buses() {
		if !slices.Contains(log.Buses(), name) {
			return fmt.Errorf("--dbc %s: the log has no such bus; it has %s", name, strings.Join(log.Buses(), ", "))
		}
	}
	return Advise(log.Tally, list)
}

// decodeLog prints a whole log in the plain form.
func decodeLog(ctx context.Context, plan *dbc.Plan, log *drive.Reader, out *bufio.Writer) error {
	printer, err := decode.New(plan, out, decode.Form{}, nil)
	if err != nil {
		return err
	}
	return printer.Log(ctx, log, false, nil)
}
