package scenario

import (
	"errors"
	"fmt"
	"time"
)

// Delivery expects the accounts of a vehicle's devices, or of one of them, to add up when
// everything has stopped; lost and duplicated are their sums. It is the last thing that is
// looked at; see finish.
type Delivery struct {
	Of         string  `yaml:"delivery"`
	Lost       *uint64 `yaml:"lost"`
	Duplicated *uint64 `yaml:"duplicated"`

	within time.Duration // how long handing over may take, of each device
}

func (d *Delivery) check(s *Scenario) error {
	if d.Lost == nil || d.Duplicated == nil {
		return errors.New("delivery: expected lost and duplicated")
	}
	return s.checkSome(d.Of)
}

func (d *Delivery) what() string {
	return fmt.Sprintf("delivery of %s: lost %d, duplicated %d", d.Of, *d.Lost, *d.Duplicated)
}
