package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/simulator/drive"
)

// Play plays a log onto virtual buses, for an agent and a cloud that somebody else runs.
type Play struct {
	Log   string  `arg:"" help:"The log."`
	Bus   string  `default:"127.0.0.1:4000" placeholder:"ADDR" help:"Where the virtual buses listen: HOST:PORT, which every user of the machine can read and send on, or the path of a socket."`
	Speed float64 `default:"1" placeholder:"N" help:"Times the recorded speed."`
	Loop  bool    `help:"Again and again, until Ctrl-C."`
	Now   bool    `help:"Begin before somebody listens. Default: wait until each bus has a listener."`
	Start string  `placeholder:"TIME" help:"When the first frame of the log was recorded, such as 2025-01-06T08:30:00Z. Default: what the log says."`
}

// Run prints how an agent attaches, and plays.
func (c *Play) Run(ctx context.Context) error {
	if err := CheckSpeed(c.Speed); err != nil {
		return err
	}
	options, err := (&Recording{Start: c.Start}).Options()
	if err != nil {
		return err
	}
	log, err := options.Scan(ctx, c.Log)
	if err != nil {
		return err
	}
	for _, remark := range log.Remarks(true) {
		fmt.Fprintln(os.Stderr, remark)
	}
	if err := log.CheckLength(c.Speed); err != nil {
		return err
	}
	hub, err := virtual.Listen(c.Bus, virtual.Config{Buses: log.Names()})
	if err != nil {
		return fmt.Errorf("--bus: %w", err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- hub.Run(serving) }()
	defer func() { stop(); <-served }()
	for _, name := range log.Names() {
		fmt.Printf("telltale-agent run … --can %s=%s\n", name, hub.URL(name))
	}
	if !c.Now {
		if err := listened(ctx, hub, log.Names()); err != nil {
			return err
		}
	}
	return c.play(ctx, hub, log)
}

// play plays the log, and lets who listens read it to its end.
func (c *Play) play(ctx context.Context, hub *virtual.Hub, log *drive.Log) error {
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: log, Hub: hub, Speed: c.Speed, Start: time.Now(), Loop: c.Loop})
	if err != nil {
		return err
	}
	if err := player.Run(ctx); err != nil {
		return err
	}
	reading, cancel := context.WithTimeout(ctx, lastRead)
	defer cancel()
	_ = hub.Drain(reading) // who does not read is not waited for any longer
	for _, b := range player.Sent() {
		fmt.Printf("%s: %d frames sent\n", b.Bus, b.Frames)
	}
	return nil
}

// lastRead is how long the last frames wait for who listens.
const lastRead = 5 * time.Second

// listened waits until each bus has a listener.
func listened(ctx context.Context, hub *virtual.Hub, buses []string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := map[string]bool{}
		for _, name := range buses {
			missing[name] = true
		}
		for _, a := range hub.Attachments() {
			if !a.Ended {
				delete(missing, a.Bus)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
