package scenario

import (
	"context"
	"errors"
	"fmt"
)

// StateOf expects the cloud to know a value of a vehicle's signal. The cloud does not keep from which device it has it.
type StateOf struct {
	Vehicle string `yaml:"state-of"`
	Signal  string `yaml:"signal"`
}

func (x *StateOf) check(s *Scenario) error {
	if x.Signal == "" {
		return errors.New("state-of: expected signal")
	}
	return s.checkVehicle(x.Vehicle)
}

func (x *StateOf) what() string { return fmt.Sprintf("state of %s has %s", x.Vehicle, x.Signal) }

func (x *StateOf) holds(ctx context.Context, e *Engine) error {
	known, err := e.world.KnownSignal(ctx, e.cars[x.Vehicle].Vehicle, x.Signal)
	if err == nil && !known {
		err = errors.New("it is not known")
	}
	return err
}
