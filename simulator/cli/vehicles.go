package cli

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"telltale.dev/simulator/client"
	"telltale.dev/simulator/terminal"
)

type Vehicles struct {
	client.Client
	JSON bool `name:"json" help:"As JSON."`
}

// vehicle is what the API says of one.
type vehicle struct {
	VID     string     `json:"vid"`
	State   string     `json:"state"`
	Signals int        `json:"signals"`
	Last    *time.Time `json:"last_sample"`
	Devices []struct {
		DID      string    `json:"did"`
		Presence string    `json:"presence"`
		Since    time.Time `json:"since"`
		Loss     *loss     `json:"data_lost"`
	} `json:"devices"`
}

// loss is what the API says of data that a device lost.
type loss struct {
	Storage string     `json:"storage"`
	Reason  string     `json:"reason"`
	Told    time.Time  `json:"told"`
	Over    *time.Time `json:"over"`
}

// String says what was lost when and why, and whether it is so still; "-" for nothing.
func (l *loss) String() string {
	if l == nil {
		return "-"
	}
	text := l.Storage + " " + clock(&l.Told)
	if l.Over == nil && l.Storage == "memory-only" {
		text = "MEMORY ONLY since " + clock(&l.Told)
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return terminal.Plain(text)
}

// Run lists the vehicles.
func (c *Vehicles) Run(ctx context.Context) error {
	if c.JSON {
		return c.Print(ctx, client.Request{Path: []string{"v1", "vehicles"}})
	}
	var list []vehicle
	if err := c.Get(ctx, &list, "v1", "vehicles"); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "VEHICLE\tSTATE\tDEVICE\tPRESENCE\tSINCE\tSIGNALS\tLAST SAMPLE\tDATA LOST")
	for _, v := range list {
		for _, d := range v.Devices {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", v.VID, v.State, d.DID, d.Presence,
				clock(&d.Since), v.Signals, clock(v.Last), d.Loss)
		}
	}
	return out.Flush()
}

// clock writes a time as all commands do: with its date, in the zone of who reads it,
// which it names; "-" for none.
func clock(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// sampleClock is clock with milliseconds, for times of samples.
func sampleClock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 MST") }
