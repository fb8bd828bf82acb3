// Package file reads the state of the link from a file, which a script of the
// operator or of ModemManager writes:
//
//	type=cellular interface=wwan0 roaming=yes metered=no
//
// Only the type is needed. Without metered a cellular link costs money and another
// one does not. The file is looked at once a second.
package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/network"
)

// poll is how often the file is looked at; maxFile bounds it.
const (
	poll    = time.Second
	maxFile = 1 << 10
)

// Monitor is a watched file.
type Monitor struct{ path string }

var _ network.Monitor = (*Monitor)(nil)

// New names the file. It opens nothing: a file that is missing is an error of Next.
func New(path string) *Monitor { return &Monitor{path: path} }

// Next implements network.Monitor.
func (m *Monitor) Next(ctx context.Context, last network.State) (network.State, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if ctx.Err() != nil {
			return network.State{}, ctx.Err()
		}
		if state, err := m.read(); err != nil || state != last {
			return state, err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (m *Monitor) read() (network.State, error) {
	text, err := m.content()
	var plain *os.PathError
	if errors.As(err, &plain) {
		err = plain.Err
	}
	var state network.State
	if err == nil {
		state, err = Parse(text)
	}
	if err != nil {
		return network.State{}, fmt.Errorf("%s: %w", filepath.Base(m.path), err)
	}
	return state, nil
}

func (m *Monitor) content() (string, error) {
	text, _, err := durable.ReadRegular(m.path, maxFile)
	return string(text), err
}

// Parse reads the text of a file. The error names the field and what was expected.
func Parse(text string) (state network.State, err error) {
	metered := ""
	seen := map[string]bool{}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		if seen[key] {
			return network.State{}, fmt.Errorf("%.40s: expected once", key)
		}
		seen[key] = true
		switch key {
		case "type":
			if state.Type, err = network.ParseType(value); err != nil {
				return network.State{}, err
			}
		case "interface":
			state.Interface = value
		case "roaming", "metered":
			if value != "yes" && value != "no" {
				return network.State{}, fmt.Errorf("%s: expected yes or no, found %.40q", key, value)
			}
			if key == "roaming" {
				state.Roaming = value == "yes"
			} else {
				metered = value
			}
		default:
			return network.State{}, fmt.Errorf("%.40q: expected type=, interface=, roaming= or metered=", word)
		}
	}
	if state.Type == network.Unknown {
		return network.State{}, errors.New("expected type= with ethernet, wifi, cellular or none")
	}
	state.Metered = metered == "yes" || metered == "" && state.Type == network.Cellular
	return state, nil
}
