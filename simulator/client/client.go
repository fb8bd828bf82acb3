// Package client asks a cloud through its HTTP interface, for the command line.
package client

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

	"telltale.dev/protocol/updates"
	"telltale.dev/simulator/world"
)

// defaultAPI is where telltale up has the API.
const defaultAPI = "http://127.0.0.1:8080"

// Client is the HTTP interface that queries go to.
type Client struct {
	API string `env:"TELLTALE_API" placeholder:"URL" help:"The cloud's HTTP interface, a URL or host:port. Default: where telltale up has it, or http://127.0.0.1:8080."`
}

// Base is the URL that paths are appended to: what was asked for, else that of a running
// telltale up, else where that would have it.
func (c *Client) Base() (string, error) {
	if c.API == "" {
		if ports, ok := RunningUp(UpData); ok {
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

// UpData is the data folder of telltale up unless it is told another one.
const UpData = ".telltale/up"

// runningUpWait is how long a running telltale up may take to accept a connection.
const runningUpWait = time.Second

// RunningUp gives the ports of the telltale up with a data folder; false when it does not
// run: the folder keeps the ports of the last time.
func RunningUp(data string) (world.Ports, bool) {
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

// APIFlag is how a command is told where the API is, when that is not the default.
func APIFlag(p world.Ports) []string {
	if api := "http://" + p.HTTP; api != defaultAPI {
		return []string{"--api", api}
	}
	return nil
}

// DownloadFlag is the agent's flag for update files that are not at the port after the broker's.
func DownloadFlag(p world.Ports) []string {
	if p.Download == "" || p.Download == updates.DownloadEndpoint(p.MQTT) {
		return nil
	}
	return []string{"--download", p.Download}
}

// Request is what is asked of the cloud. Elements of the path need no escaping.
type Request struct {
	Method  string // empty: GET
	Path    []string
	Query   url.Values
	Content string // type of the body
	Body    io.Reader
}

// Get asks a route and decodes its answer. Problems (RFC 9457) become errors with their detail.
func (c *Client) Get(ctx context.Context, answer any, path ...string) error {
	return c.Ask(ctx, answer, Request{Path: path})
}

// Ask makes a request and decodes its answer.
func (c *Client) Ask(ctx context.Context, answer any, r Request) error {
	body, err := c.Send(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("expected the answer of a Telltale cloud: %w", err)
	}
	return nil
}

// Print copies an answer to standard output as it is.
func (c *Client) Print(ctx context.Context, r Request) error {
	body, err := c.Send(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(os.Stdout, body)
	return err
}

// maxProblem bounds the description of a refusal.
const maxProblem = 64 << 10

// Send makes a request and gives the body of its answer. Problems become errors with their detail.
func (c *Client) Send(ctx context.Context, r Request) (io.ReadCloser, error) {
	base, err := c.Base()
	if err != nil {
		return nil, err
	}
	escaped := make([]string, len(r.Path))
	for i, element := range r.Path {
		escaped[i] = url.PathEscape(element)
	}
	target, err := url.JoinPath(base, escaped...)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), target, r.Body)
	if err != nil {
		return nil, fmt.Errorf("--api: %w", err)
	}
	if r.Content != "" {
		req.Header.Set("Content-Type", r.Content)
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
		return nil, fmt.Errorf("no cloud answers at %s (telltale up starts one, --api names another): %w", base, &NoAnswer{err})
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem struct{ Title, Detail string }
	if json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&problem) != nil || problem.Detail == "" {
		return nil, fmt.Errorf("%s answered %s; expected a Telltale cloud there", base, resp.Status)
	}
	return nil, &Problem{problem.Detail}
}

// Problem is a refusal by the cloud (RFC 9457).
type Problem struct{ Detail string }

func (p *Problem) Error() string { return p.Detail }

// NoAnswer says that the cloud could not be asked.
type NoAnswer struct{ error }

func (n *NoAnswer) Unwrap() error { return n.error }
