package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"telltale.dev/firmware-images/qemu"
	"telltale.dev/firmware-images/rig"
)

type runCommand struct {
	Image    string `type:"path" default:".cache/images/qemu-arm64" placeholder:"DIR" help:"What build has written."`
	Data     string `type:"path" default:".telltale/image" placeholder:"DIR" help:"Disk, cloud and TPM; used again by the next run."`
	Programs string `type:"path" default:"bin" placeholder:"DIR" help:"Where telltale-cloud is."`
	Vehicle  string `default:"anna" placeholder:"VID" help:"The vehicle."`
	Device   string `default:"tcu-a" placeholder:"DID" help:"The device in it."`
	Play     string `type:"path" default:"simulator/recordings/rav4.log.zst" placeholder:"LOG" help:"Candump log whose frames are put on the board's bus, again and again."`
	MQTT     string `name:"mqtt" default:"127.0.0.1:8883" placeholder:"HOST:PORT" help:"Where the cloud's broker listens."`
	HTTP     string `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the cloud's API listens."`
	Download string `default:"127.0.0.1:8884" placeholder:"HOST:PORT" help:"Where the cloud serves update files."`
}

// Run runs the board until Ctrl-C; the console is the board's.
func (c *runCommand) Run(ctx context.Context) error {
	if _, err := os.Stat(c.Play); err != nil {
		return fmt.Errorf("--play: %w", err)
	}
	log, err := os.Create(filepath.Join(mkdir(c.Data), "cloud.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	_, noTPM := exec.LookPath("swtpm")
	if noTPM != nil {
		fmt.Fprintln(os.Stderr, "telltale-image: swtpm is not installed: the board has no TPM")
	}
	r, err := rig.New(ctx, rig.Config{
		Image: c.Image, Dir: c.Data, Programs: c.Programs, Vehicle: c.Vehicle, Device: c.Device, TPM: noTPM == nil,
		Console: os.Stdout, CloudLog: log, Ports: rig.Ports{MQTT: c.MQTT, HTTP: c.HTTP, Download: c.Download},
	})
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Printf("cloud at http://%s; in another terminal:\n  bin/telltale watch %s --api http://%s --signal SPEED\n  bin/telltale update %s %s --api http://%s\n",
		c.HTTP, c.Vehicle, c.HTTP, c.Vehicle, filepath.Join(c.Image, "update.ttup"), c.HTTP)
	if err := r.PowerOn(ctx); err != nil {
		if errors.Is(err, qemu.ErrMissing) {
			return fmt.Errorf("%w; expected QEMU", err)
		}
		return err
	}
	if _, err := r.Play(ctx, c.Play); err != nil {
		return err
	}
	return nil
}

// mkdir makes a folder and gives its name; what goes wrong shows when it is used.
func mkdir(dir string) string {
	_ = os.MkdirAll(dir, 0o755)
	return dir
}
