package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"telltale.dev/simulator/client"
	"telltale.dev/simulator/terminal"
)

type State struct {
	client.Client
	VID    string   `arg:"" help:"The vehicle."`
	Signal []string `sep:"none" placeholder:"GLOB" help:"Only signals whose name matches. May be repeated."`
	JSON   bool     `name:"json" help:"As JSON."`
}

// signalValue is what the API says of one signal.
type signalValue struct {
	Bus     string    `json:"bus"`
	Message string    `json:"message"`
	Signal  string    `json:"signal"`
	Time    time.Time `json:"time"`
	Value   *float64  `json:"value"`
	Quality string    `json:"quality"` // why there is no value
	Text    string    `json:"text"`
	Unit    string    `json:"unit"`
}

func (v *signalValue) number() string {
	if v.Value == nil {
		return cmp.Or(v.Quality, "NaN")
	}
	return fmt.Sprintf("%.10g", *v.Value)
}

// Run shows the state.
func (c *State) Run(ctx context.Context) error {
	query, err := client.SignalQuery(c.Signal)
	if err != nil {
		return err
	}
	r := client.Request{Path: []string{"v1", "vehicles", c.VID, "state"}, Query: query}
	if c.JSON {
		return c.Print(ctx, r)
	}
	var list []signalValue
	if err := c.Ask(ctx, &list, r); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "BUS\tMESSAGE\tSIGNAL\tVALUE\tUNIT\tTEXT\tTIME")
	for _, v := range list {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", terminal.Plain(v.Bus), terminal.Plain(v.Message), terminal.Plain(v.Signal), v.number(), terminal.Plain(v.Unit), terminal.Plain(v.Text), sampleClock(v.Time))
	}
	return out.Flush()
}

type Watch struct {
	client.Client
	VID    string   `arg:"" help:"The vehicle."`
	Signal []string `sep:"none" placeholder:"GLOB" help:"Only signals whose name matches. May be repeated."`
}

// maxEvent bounds one live message.
const maxEvent = 16 << 20

// Run follows the live events until Ctrl-C or until the cloud ends them.
func (c *Watch) Run(ctx context.Context) error {
	query, err := client.SignalQuery(c.Signal)
	if err != nil {
		return err
	}
	body, err := c.Send(ctx, client.Request{Path: []string{"v1", "vehicles", c.VID, "events"}, Query: query})
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	kind := "message"
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			kind = value
		case "data":
			if err := c.show(kind, []byte(value)); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("the cloud ended the stream: %w", cmp.Or(lines.Err(), io.EOF))
}

// presenceLine says since when a device has its presence; a cloud of before does not know: it is now.
func presenceLine(data []byte, now time.Time) (string, error) {
	p := struct {
		Time          *time.Time
		Did, Presence string
	}{Time: &now}
	if err := json.Unmarshal(data, &p); err != nil {
		return "", err
	}
	return terminal.Plain(fmt.Sprintf("%s  %s is %s", clock(p.Time), p.Did, p.Presence)), nil
}

// show prints one live message, a line for each change.
func (c *Watch) show(kind string, data []byte) error {
	now := time.Now()
	switch kind {
	case "presence":
		line, err := presenceLine(data, now)
		if err != nil {
			return err
		}
		fmt.Println(line)
	case "storage":
		var s struct{ Did, Storage, Reason string }
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		fmt.Println(terminal.Plain(fmt.Sprintf("%s  %s data partition: %s", clock(&now), s.Did, strings.TrimSuffix(s.Storage+": "+s.Reason, ": "))))
	case "lost":
		var l struct{ Count uint64 }
		if err := json.Unmarshal(data, &l); err != nil {
			return err
		}
		fmt.Printf("%s  %d samples or other events are missing here: they were not read in time\n", clock(&now), l.Count)
	case "state":
		var list []signalValue
		if err := json.Unmarshal(data, &list); err != nil {
			return err
		}
		for _, v := range list {
			fmt.Println(terminal.Plain(strings.TrimRight(fmt.Sprintf("%s  %s %s.%s = %s %s %s", sampleClock(v.Time), v.Bus, v.Message, v.Signal, v.number(), v.Unit, v.Text), " ")))
		}
	case "gap", "message":
	default: // of a room, or of a newer cloud
		fmt.Println(terminal.Plain(fmt.Sprintf("%s  %s %s", clock(&now), kind, data)))
	}
	return nil
}
