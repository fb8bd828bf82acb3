package cli

import (
	"context"

	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/scenario"
)

type Demo struct {
	playing
	Recording
	Log    string  `required:"" placeholder:"FILE" help:"A log of candump, Vector ASC, PEAK TRC or SavvyCAN CSV, plain or zstd."`
	Speed  float64 `placeholder:"N" help:"Times the recorded speed. Default: the log in 60 s."`
	Faults string  `enum:"none,tunnel,power,cloud,all" default:"all" help:"none, tunnel, power, cloud or all."`
}

// Run drives the log as one vehicle.
func (c *Demo) Run(ctx context.Context) error {
	options, err := c.Options()
	if err != nil {
		return err
	}
	buses, err := c.Of(ctx, c.Log)
	if err != nil {
		return err
	}
	if c.Speed != 0 {
		if err := CheckSpeed(c.Speed); err != nil {
			return err
		}
	}
	if err := c.check(ctx, options, buses); err != nil {
		return err
	}
	s := scenario.Demo(scenario.DemoConfig{Log: c.Log, Buses: buses, Start: options.Start, Speed: c.Speed, Faults: c.Faults})
	return c.play(ctx, s)
}

// check says which bus or DBC fits better when few identifiers match. A log that would not end is refused.
func (c *Demo) check(ctx context.Context, options drive.Options, buses map[string]scenario.Bus) error {
	list, err := Sources(buses)
	if err != nil {
		return err
	}
	log, err := options.Scan(ctx, c.Log)
	if err != nil {
		return err
	}
	Warn(log.Problems, log.Counts.Bad, "lines could not be read")
	if err := Advise(log, list); err != nil {
		return err
	}
	return log.CheckLength(c.Speed)
}
