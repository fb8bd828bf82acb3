package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/simulator/fault"
)

// Link changes the way between a device and the cloud.
type Link struct {
	Device string   `yaml:"link"`
	State  string   `yaml:"state"` // up, half-open or down
	Delay  Duration `yaml:"delay"`
	Up     string   `yaml:"up"`   // bytes per second, such as 10KiB; left out: no limit
	Down   string   `yaml:"down"` // the same
}

func (l *Link) check(s *Scenario) error {
	if err := s.checkDevice(l.Device); err != nil {
		return err
	}
	if !slices.Contains([]string{"up", "half-open", "down"}, l.State) {
		return errors.New("link: expected state: up, half-open or down")
	}
	for _, text := range []string{l.Up, l.Down} {
		if _, err := rate(text); err != nil {
			return fmt.Errorf("link: bytes per second: %w", err)
		}
	}
	return nil
}

func (l *Link) do(_ context.Context, e *Engine) error {
	up, err := rate(l.Up)
	if err != nil {
		return err
	}
	down, err := rate(l.Down)
	if err != nil {
		return err
	}
	link := e.one(l.Device).Link
	link.Shape(fault.Profile{Delay: time.Duration(l.Delay), Up: up, Down: down})
	switch l.State {
	case "up":
		link.Set(fault.Up)
	case "half-open":
		link.Set(fault.HalfOpen)
	case "down":
		link.Set(fault.Cut)
	}
	return nil
}

func rate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return protocol.ParseSize(s)
}
