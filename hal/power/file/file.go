// Package file reads ignition and shutdown notice from a file, which a script or
// another program of the device writes:
//
//	on
//	off
//	off shutdown 30s
//
// The time of a shutdown counts from the file's last change. The file is looked
// at ten times a second, so that it may be on any file system, also one of the kernel's.
package file

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/power"
)

// poll is how often the file is looked at; maxFile bounds it.
const (
	poll    = 100 * time.Millisecond
	maxFile = 256
)

// Supply is a watched file.
type Supply struct{ path string }

var _ power.Supply = (*Supply)(nil)

// New names the file. It opens nothing: a file that is missing is an error of Next.
func New(path string) *Supply { return &Supply{path: path} }

// Next implements power.Supply.
func (s *Supply) Next(ctx context.Context, last power.State) (power.State, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if ctx.Err() != nil {
			return power.State{}, ctx.Err()
		}
		if state, err := s.read(); err != nil || !state.Equal(last) {
			return state, err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// read reads the file. A file that is being written, and empty, is tried again once.
func (s *Supply) read() (power.State, error) {
	text, changed, err := s.content()
	if err == nil && text == "" {
		time.Sleep(poll / 2)
		text, changed, err = s.content()
	}
	if err != nil {
		return power.State{}, err
	}
	state, err := Parse(text, changed)
	if err != nil {
		return power.State{}, fmt.Errorf("%s: %w", filepath.Base(s.path), err)
	}
	return state, nil
}

func (s *Supply) content() (text string, changed time.Time, err error) {
	data, info, err := durable.ReadRegular(s.path, maxFile)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%s: %w", filepath.Base(s.path), durable.Bare(err))
	}
	return strings.TrimSpace(string(data)), info.ModTime(), nil
}

// Parse reads the text of a file that was changed at a time.
func Parse(text string, changed time.Time) (power.State, error) {
	var state power.State
	words := strings.Fields(text)
	wrong := fmt.Errorf("expected on or off, and shutdown with a time such as 30s when power ends; found %.40q", text)
	if len(words) != 1 && (len(words) != 3 || words[1] != "shutdown") {
		return state, wrong
	}
	switch words[0] {
	case "on", "1":
		state.Ignition = power.On
	case "off", "0":
		state.Ignition = power.Off
	default:
		return state, wrong
	}
	if len(words) == 3 {
		left, err := time.ParseDuration(words[2])
		if err != nil || left < 0 {
			return power.State{}, wrong
		}
		state.Ends = changed.Add(left)
	}
	return state, nil
}

// Close implements power.Supply.
func (s *Supply) Close() error { return nil }
