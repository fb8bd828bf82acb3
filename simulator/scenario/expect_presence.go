package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Presence expects a vehicle to be online, or not.
type Presence struct {
	Vehicle string `yaml:"presence"`
	State   string `yaml:"state"` // online, offline, asleep, lost or unknown
}

func (p *Presence) check(s *Scenario) error {
	if !slices.Contains([]string{"online", "offline", "asleep", "lost", "unknown"}, p.State) {
		return errors.New("presence: expected state: online, offline, asleep, lost or unknown")
	}
	return s.checkVehicle(p.Vehicle)
}

func (p *Presence) what() string { return fmt.Sprintf("presence of %s is %s", p.Vehicle, p.State) }

func (p *Presence) holds(ctx context.Context, e *Engine) error {
	got, err := e.world.Presence(ctx, e.cars[p.Vehicle].Vehicle)
	if err == nil && got != p.State {
		err = fmt.Errorf("it is %s", got)
	}
	return err
}

func (p *Presence) pausesDrive() {}
