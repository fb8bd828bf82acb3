package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/simulator/drive"
)

// Drive plays a log on a vehicle's buses, for all its devices.
type Drive struct {
	Vehicle string   `yaml:"drive"`
	Log     string   `yaml:"log"`
	Start   Instant  `yaml:"start"` // when its first frame was recorded; left out: what the log says
	Lasts   Duration `yaml:"lasts"` // plays the log in this time,
	Speed   float64  `yaml:"speed"` // or at this speed; neither: in 60 s
}

const (
	// defaultDrive is how long a log plays when the scenario does not say.
	defaultDrive = 60 * time.Second
	// fastest is a speed that no log is played at.
	fastest = 1_000_000
)

func (d *Drive) check(s *Scenario) error {
	if err := s.checkVehicle(d.Vehicle); err != nil {
		return err
	}
	switch {
	case d.Log == "":
		return errors.New("drive: expected log")
	case d.Speed != 0 && d.Lasts != 0:
		return errors.New("drive: expected lasts or speed, not both")
	case d.Speed != 0 && !(d.Speed > 0 && d.Speed < fastest):
		return fmt.Errorf("drive: expected speed above 0 and below %d", fastest)
	}
	return s.checkFile(d.Log)
}

func (d *Drive) do(ctx context.Context, e *Engine) error {
	c := e.cars[d.Vehicle]
	if c.driving.Load() != nil {
		return fmt.Errorf("drive: %s drives already", d.Vehicle)
	}
	log := c.logs[d.logKey()]
	cfg := drive.PlayerConfig{Log: log, Hub: c.Hub, Speed: d.speed(log)}
	if c.OnKernel() {
		cfg.Send = c.Send
	}
	playing, err := c.gate.run(ctx, cfg)
	if err != nil {
		return err
	}
	c.driving.Store(playing)
	return nil
}

// speed is how many times as fast as it was recorded the log is played.
func (d *Drive) speed(log *drive.Log) float64 {
	if d.Speed != 0 {
		return d.Speed
	}
	lasts := time.Duration(d.Lasts)
	if lasts == 0 {
		lasts = defaultDrive
	}
	return max(float64(log.Duration())/float64(lasts), 1e-3)
}

// logKey tells the same log with another start apart.
func (d *Drive) logKey() string { return d.Log + " " + time.Time(d.Start).String() }
