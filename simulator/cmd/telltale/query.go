package main

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
	"unicode"
)

type stateCommand struct {
	cloudAPI
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
	Text    string    `json:"text"`
	Unit    string    `json:"unit"`
}

func (v *signalValue) number() string {
	if v.Value == nil {
		return "NaN"
	}
	return fmt.Sprintf("%.10g", *v.Value)
}

// plain is a vehicle's text without the control characters that it may hold: they would steer the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Run shows the state.
func (c *stateCommand) Run(ctx context.Context) error {
	query, err := signalQuery(c.Signal)
	if err != nil {
		return err
	}
	r := request{path: []string{"v1", "vehicles", c.VID, "state"}, query: query}
	if c.JSON {
		return c.print(ctx, r)
	}
	var list []signalValue
	if err := c.ask(ctx, &list, r); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "BUS\tMESSAGE\tSIGNAL\tVALUE\tUNIT\tTEXT\tTIME")
	for _, v := range list {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(v.Bus), plain(v.Message), plain(v.Signal), v.number(), plain(v.Unit), plain(v.Text), sampleClock(v.Time))
	}
	return out.Flush()
}

type watchCommand struct {
	cloudAPI
	VID    string   `arg:"" help:"The vehicle."`
	Signal []string `sep:"none" placeholder:"GLOB" help:"Only signals whose name matches. May be repeated."`
}

// maxEvent bounds one live message.
const maxEvent = 16 << 20

// Run follows the live events until Ctrl-C or until the cloud ends them.
func (c *watchCommand) Run(ctx context.Context) error {
	query, err := signalQuery(c.Signal)
	if err != nil {
		return err
	}
	body, err := c.send(ctx, request{path: []string{"v1", "vehicles", c.VID, "events"}, query: query})
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
	return plain(fmt.Sprintf("%s  %s is %s", clock(p.Time), p.Did, p.Presence)), nil
}

// show prints one live message, a line for each change.
func (c *watchCommand) show(kind string, data []byte) error {
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
		fmt.Println(plain(fmt.Sprintf("%s  %s data partition: %s", clock(&now), s.Did, strings.TrimSuffix(s.Storage+": "+s.Reason, ": "))))
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
			fmt.Println(plain(strings.TrimRight(fmt.Sprintf("%s  %s %s.%s = %s %s %s", sampleClock(v.Time), v.Bus, v.Message, v.Signal, v.number(), v.Unit, v.Text), " ")))
		}
	}
	return nil // other kinds are those of a newer cloud
}
