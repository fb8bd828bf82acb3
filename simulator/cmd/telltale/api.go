package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"telltale.dev/simulator/world"
)

// defaultAPI is where telltale up has the API.
const defaultAPI = "http://127.0.0.1:8080"

// cloudAPI is the HTTP interface that queries go to.
type cloudAPI struct {
	API string `env:"TELLTALE_API" placeholder:"URL" help:"The cloud's HTTP interface, a URL or host:port. Default: where telltale up has it, or http://127.0.0.1:8080."`
}

// base is the URL that paths are appended to: what was asked for, else that of a running
// telltale up, else where that would have it.
func (c *cloudAPI) base() (string, error) {
	if c.API == "" {
		if ports, ok := runningUp(upData); ok {
			return "http://" + ports.HTTP, nil
		}
		return defaultAPI, nil
	}
	text := c.API
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("--api %s: expected host:port or a URL, such as 127.0.0.1:8080 or %s", c.API, defaultAPI)
	}
	return text, nil
}

// upData is the data folder of telltale up unless it is told another one.
const upData = ".telltale/up"

// runningUpWait is how long a running telltale up may take to accept a connection.
const runningUpWait = time.Second

// runningUp gives the ports of the telltale up with a data folder; false when it does not
// run: the folder keeps the ports of the last time.
func runningUp(data string) (world.Ports, bool) {
	ports, err := world.ReadPorts(data)
	if err != nil || ports.HTTP == "" {
		return ports, false
	}
	conn, err := net.DialTimeout("tcp", ports.HTTP, runningUpWait)
	if err != nil {
		return ports, false
	}
	_ = conn.Close()
	return ports, true
}

// request is what is asked of the cloud. Elements of the path need no escaping.
type request struct {
	method  string // empty: GET
	path    []string
	query   url.Values
	content string // type of the body
	body    io.Reader
}

// get asks a route and decodes its answer. Problems (RFC 9457) become errors with their detail.
func (c *cloudAPI) get(ctx context.Context, answer any, path ...string) error {
	return c.ask(ctx, answer, request{path: path})
}

// ask makes a request and decodes its answer.
func (c *cloudAPI) ask(ctx context.Context, answer any, r request) error {
	body, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("expected the answer of a Telltale cloud: %w", err)
	}
	return nil
}

// print copies an answer to standard output as it is.
func (c *cloudAPI) print(ctx context.Context, r request) error {
	body, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(os.Stdout, body)
	return err
}

// maxProblem bounds the description of a refusal.
const maxProblem = 64 << 10

// send makes a request and gives the body of its answer. Problems become errors with their detail.
func (c *cloudAPI) send(ctx context.Context, r request) (io.ReadCloser, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	escaped := make([]string, len(r.path))
	for i, element := range r.path {
		escaped[i] = url.PathEscape(element)
	}
	target, err := url.JoinPath(base, escaped...)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, http.MethodGet), target, r.body)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if r.content != "" {
		req.Header.Set("Content-Type", r.content)
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
		return nil, fmt.Errorf("no cloud answers at %s (telltale up starts one, --api names another): %w", base, &noAnswer{err})
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem struct{ Title, Detail string }
	if json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&problem) != nil || problem.Detail == "" {
		return nil, fmt.Errorf("%s answered %s; expected a Telltale cloud there", base, resp.Status)
	}
	return nil, errors.New(problem.Detail)
}

// noAnswer says that the cloud could not be asked.
type noAnswer struct{ error }

func (n *noAnswer) Unwrap() error { return n.error }
