package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Presence expects a vehicle, or one of its devices, to be online, or not.
type Presence struct {
	Of    string `yaml:"presence"`
	State string `yaml:"state"` // one of presences
}

// presences are what the cloud says of devices, the nearest first. A vehicle is as near as the
// nearest of its devices: online when one of them is, lost when none is in a better state.
var presences = []string{"online", "asleep", "offline", "lost", unknownPresence}

// unknownPresence is that of a device that the cloud has not heard of.
const unknownPresence = "unknown"

func (p *Presence) check(s *Scenario) error {
	if !slices.Contains(presences, p.State) {
		return errors.New("presence: expected state: online, offline, asleep, lost or unknown")
	}
	return s.checkSome(p.Of)
}

func (p *Presence) what() string { return fmt.Sprintf("presence of %s is %s", p.Of, p.State) }

func (p *Presence) holds(ctx context.Context, e *Engine) error {
	got, err := e.presence(ctx, e.some(p.Of))
	if err == nil && got != p.State {
		err = fmt.Errorf("it is %s", got)
	}
	return err
}

func (p *Presence) pausesDrive() {}

// presence is that of the nearest of some devices of one vehicle.
func (e *Engine) presence(ctx context.Context, units []*unit) (string, error) {
	known, err := e.world.Presences(ctx, units[0].Vehicle)
	if err != nil {
		return "", err
	}
	nearest := len(presences) - 1
	for _, u := range units {
		if i := slices.Index(presences, known[u.ID()]); i >= 0 {
			nearest = min(nearest, i)
		}
	}
	return presences[nearest], nil
}
