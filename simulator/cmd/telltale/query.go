package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// defaultAPI is where telltale up has the API.
const defaultAPI = "http://127.0.0.1:8080"

// cloudAPI is the HTTP interface that queries go to.
type cloudAPI struct {
	API string `default:"http://127.0.0.1:8080" env:"TELLTALE_API" placeholder:"URL" help:"The cloud's HTTP interface."`
}

// get asks a route and decodes its answer. Problems (RFC 9457) become errors with their detail.
func (c *cloudAPI) get(ctx context.Context, answer any, path ...string) error {
	body, err := c.open(ctx, path...)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("%s: expected the answer of a Telltale cloud: %w", c.API, err)
	}
	return nil
}

// print copies an answer to standard output as it is.
func (c *cloudAPI) print(ctx context.Context, path ...string) error {
	body, err := c.open(ctx, path...)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(os.Stdout, body)
	return err
}

// maxProblem bounds the description of a refusal.
const maxProblem = 64 << 10

func (c *cloudAPI) open(ctx context.Context, path ...string) (io.ReadCloser, error) {
	return c.send(ctx, http.MethodGet, "", nil, path...)
}

// send makes a request and gives the body of its answer. Problems become errors with their detail.
func (c *cloudAPI) send(ctx context.Context, method, content string, body io.Reader, path ...string) (io.ReadCloser, error) {
	target, err := url.JoinPath(c.API, path...)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if content != "" {
		req.Header.Set("Content-Type", content)
	}
	resp, err := http.DefaultClient.Do(req)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		var failed *url.Error // repeats the address
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("no cloud answers at %s (telltale up starts one, --api names another): %w", c.API, &noAnswer{err})
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem struct{ Title, Detail string }
	if json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&problem) != nil || problem.Detail == "" {
		return nil, fmt.Errorf("%s answered %s; expected a Telltale cloud there", c.API, resp.Status)
	}
	return nil, errors.New(problem.Detail)
}

// noAnswer says that the cloud could not be asked.
type noAnswer struct{ error }

func (n *noAnswer) Unwrap() error { return n.error }

type vehiclesCommand struct {
	cloudAPI
}

// vehicle is what the API says of one.
type vehicle struct {
	VID     string `json:"vid"`
	State   string `json:"state"`
	Signals int    `json:"signals"`
	Last    string `json:"last_sample"`
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
	text := l.Storage + " " + l.Told.Local().Format(time.DateTime)
	if l.Over == nil && l.Storage == "memory-only" {
		text = "MEMORY ONLY since " + l.Told.Local().Format(time.DateTime)
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

// Run lists the vehicles.
func (c *vehiclesCommand) Run(ctx context.Context) error {
	var list []vehicle
	if err := c.get(ctx, &list, "v1", "vehicles"); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "VEHICLE\tSTATE\tDEVICE\tPRESENCE\tSINCE\tSIGNALS\tLAST SAMPLE\tDATA LOST")
	for _, v := range list {
		for _, d := range v.Devices {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", v.VID, v.State, d.DID, d.Presence,
				d.Since.Local().Format(time.TimeOnly), v.Signals, cmp.Or(v.Last, "-"), d.Loss)
		}
	}
	return out.Flush()
}

type stateCommand struct {
	cloudAPI
	VID    string `arg:"" help:"The vehicle."`
	Signal string `placeholder:"GLOB" help:"Only signals whose name matches."`
	JSON   bool   `help:"As JSON."`
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
	path := []string{"v1", "vehicles", url.PathEscape(c.VID), "state"}
	if c.JSON {
		return c.print(ctx, path...)
	}
	var list []signalValue
	if err := c.get(ctx, &list, path...); err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "BUS\tMESSAGE\tSIGNAL\tVALUE\tUNIT\tTEXT\tTIME")
	for _, v := range list {
		if ok, err := matchGlob(c.Signal, v.Signal); err != nil {
			return err
		} else if ok {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(v.Bus), plain(v.Message), plain(v.Signal), v.number(), plain(v.Unit), plain(v.Text),
				v.Time.Format("2006-01-02 15:04:05.000"))
		}
	}
	return out.Flush()
}

type watchCommand struct {
	cloudAPI
	VID    string `arg:"" help:"The vehicle."`
	Signal string `placeholder:"GLOB" help:"Only signals whose name matches."`
}

// maxEvent bounds one live message.
const maxEvent = 16 << 20

// Run follows the live events until Ctrl-C or until the cloud ends them.
func (c *watchCommand) Run(ctx context.Context) error {
	var known vehicle
	if err := c.get(ctx, &known, "v1", "vehicles", url.PathEscape(c.VID)); err != nil {
		return err
	}
	body, err := c.open(ctx, "v1", "vehicles", url.PathEscape(c.VID), "events")
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

// show prints one live message, a line for each change.
func (c *watchCommand) show(kind string, data []byte) error {
	switch kind {
	case "presence":
		var p struct{ Did, Presence string }
		if err := json.Unmarshal(data, &p); err != nil {
			return err
		}
		fmt.Printf("%s  %s is %s\n", time.Now().Format(time.TimeOnly), p.Did, p.Presence)
		return nil
	case "storage":
		var s struct{ Did, Storage, Reason string }
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		fmt.Printf("%s  %s data partition: %s\n", time.Now().Format(time.TimeOnly), s.Did, strings.TrimSuffix(s.Storage+": "+s.Reason, ": "))
		return nil
	case "state":
	default: // of a newer cloud
		return nil
	}
	var list []signalValue
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, v := range list {
		if ok, err := matchGlob(c.Signal, v.Signal); err != nil {
			return err
		} else if ok {
			fmt.Println(plain(fmt.Sprintf("%s  %s %s.%s = %s %s %s", v.Time.Format("15:04:05.000"), v.Bus, v.Message, v.Signal, v.number(), v.Unit, v.Text)))
		}
	}
	return nil
}
