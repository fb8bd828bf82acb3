package scenario

import (
	"context"
	"errors"
)

// Broker kills the cloud's process, or starts it again.
type Broker struct {
	What string `yaml:"broker"` // kill or start
}

func (b *Broker) check(*Scenario) error {
	if b.What != "kill" && b.What != "start" {
		return errors.New("broker: expected kill or start")
	}
	return nil
}

func (b *Broker) do(ctx context.Context, e *Engine) error {
	if b.What == "kill" {
		e.world.KillCloud()
		return nil
	}
	e.say("the cloud is back")
	return e.world.StartCloud(ctx)
}
