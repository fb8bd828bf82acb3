package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/simulator/client"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/recordings"
	"telltale.dev/simulator/scenario"
	"telltale.dev/simulator/shell"
	"telltale.dev/simulator/world"
)

type Up struct {
	Recording
	interfaces
	NATS  world.NATS `embed:""`
	Data  string     `default:".telltale/up" placeholder:"DIR" help:"Keep everything there."`
	MQTT  string     `name:"mqtt" default:"127.0.0.1:8883" help:"Where the broker listens."`
	HTTP  string     `name:"http" default:"127.0.0.1:8080" help:"Where the API listens."`
	Down  string     `name:"download" placeholder:"ADDR" help:"Where devices fetch update files. Default: beside the broker, the port after its."`
	Bus   string     `placeholder:"ADDR" help:"Where the virtual buses listen, such as 127.0.0.1:4000, which every user of the machine can read and send on. Default: a socket in the data folder that only you can open."`
	Empty bool       `help:"The cloud alone."`
	Log   string     `placeholder:"FILE" help:"What to drive, again and again. Default: a recorded minute on a highway."`
	Speed float64    `placeholder:"N" help:"Times the recorded speed. Default: 1."`
}

// check refuses flags that would have no effect.
func (c *Up) check() error {
	if c.Empty || !c.drives() {
		if err := c.checkWithoutDrive(); err != nil {
			return err
		}
	}
	switch {
	case c.Log == "" && len(c.Can) == 0 && len(c.DBC)+len(c.J1939) > 0:
		return errors.New("--dbc and --j1939 belong to a log or an interface: expected --log FILE or --can INTERFACE too")
	case len(c.J1939) > 0 && len(c.DBC) == 0:
		return errors.New("--j1939: expected --dbc NAME=FILE for the bus, too")
	case c.Speed == 0:
		c.Speed = 1
	}
	return CheckSpeed(c.Speed)
}

// checkWithoutDrive refuses flags that have no effect when nothing is played.
func (c *Up) checkWithoutDrive() error {
	switch {
	case c.Empty && (len(c.DBC)+len(c.J1939)+len(c.Can) > 0 || c.Log != "" || c.Speed != 0 || c.Bus != ""):
		return errors.New("--empty: there is no vehicle then: expected none of --log, --speed, --dbc, --j1939, --can and --bus beside it")
	case c.Bus != "":
		return errors.New("--bus: no bus is virtual: expected --log FILE beside it, or no --can")
	case c.Speed != 0:
		return errors.New("--speed: nothing is played on an interface of yours: expected --log FILE beside it")
	}
	return nil
}

// checkAddresses makes sure that everything can listen where it is to.
func (c *Up) checkAddresses() error {
	if c.Bus != "" {
		hub, err := virtual.Listen(c.Bus, virtual.Config{})
		if err == nil {
			err = hub.Close()
		}
		if err != nil {
			return fmt.Errorf("--bus: %w", err)
		}
	}
	return checkPorts(c.MQTT, c.HTTP, c.Down)
}

// update is a signed firmware update for the vehicle, to try with telltale update.
func (c *Up) update() string { return filepath.Join(c.Data, "v2.update") }

// upUpdateSize is how large that firmware is, in bytes.
const upUpdateSize = 5 << 20

// upVehicle is the vehicle that drives, and its device.
const upVehicle, upDevice = "anna", "tcu-a"

// Run keeps everything running until Ctrl-C.
func (c *Up) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.checkAddresses(); err != nil {
		return err
	}
	w, err := world.New(world.Config{
		Dir: c.Data, MQTT: c.MQTT, HTTP: c.HTTP, Download: c.Down, NATS: c.NATS,
		Flush: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	err = c.keep(ctx, w)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), upStopWait)
	defer cancel()
	if closed := w.Close(stop); err == nil {
		err = closed
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// upStopWait bounds the end of everything that runs.
const upStopWait = time.Minute

func (c *Up) keep(ctx context.Context, w *world.World) error {
	if err := w.StartCloud(ctx); err != nil {
		return err
	}
	ops, err := w.Operator(ctx, "ops")
	if err != nil {
		return err
	}
	driven := make(chan error, 1)
	var v *world.Device
	if !c.Empty {
		if v, err = c.start(ctx, w, driven); err != nil {
			return err
		}
	}
	if v != nil {
		if err := c.starter(ctx, w); err != nil {
			return err
		}
	}
	if err := c.hints(ctx, w, ops, v); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-driven:
			return err
		case <-time.After(time.Second):
			if err := errors.Join(w.Supervise(), w.Failure()); err != nil {
				return err
			}
		}
	}
}

// starter pushes the campaign with which the vehicle begins, once in the life of a data folder: who takes it back
// does not find it there again.
func (c *Up) starter(ctx context.Context, w *world.World) error {
	return onceStarted(filepath.Join(c.Data, "starter"), func() error {
		return pushStarter(ctx, client.Client{API: "http://" + w.Ports().HTTP})
	})
}

// onceStarted calls push unless the file mark is there, and makes the file when push gives no error.
func onceStarted(mark string, push func() error) error {
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := push(); err != nil {
		return err
	}
	return os.WriteFile(mark, []byte("The starter campaign was offered here; it is not pushed again.\n"), 0o600)
}

// pushStarter pushes the starter campaign unless there is a campaign already.
func pushStarter(ctx context.Context, c client.Client) error {
	var list []campaignView
	if err := c.Get(ctx, &list, "v1", "campaigns"); err != nil || len(list) > 0 {
		return err
	}
	fmt.Println("No campaign is there yet: pushing the starter campaign \"everything\", each sample of each signal.")
	return c.Ask(ctx, new(campaignView), client.Request{
		Method: http.MethodPut, Path: []string{"v1", "campaigns", "everything"}, Content: "application/yaml", Body: strings.NewReader(world.Starter),
	})
}

// start makes the vehicle and lets it drive.
func (c *Up) start(ctx context.Context, w *world.World, driven chan<- error) (*world.Device, error) {
	path, buses, err := c.what(ctx)
	if err != nil {
		return nil, err
	}
	vehicle := world.VehicleConfig{Name: upVehicle, Hub: c.Bus}
	cfg := world.DeviceConfig{Name: upDevice, Bare: true}
	names := scenario.BusNames(buses)
	if vehicle.Interfaces, err = world.Interfaces(c.Can, names); err != nil {
		return nil, err
	}
	for _, name := range names {
		if c.drives() || vehicle.Interfaces[name] != "" { // nobody else could send on a virtual bus
			cfg.Buses = append(cfg.Buses, world.Bus{Name: name, DBC: buses[name].DBC, J1939: buses[name].J1939})
		}
	}
	if cfg.Board, err = world.NewBoard(filepath.Join(c.Data, "board"), world.Firmware("1.0", 1, 0)); err != nil {
		return nil, err
	}
	if err := cfg.Board.Sign(c.update(), "2.0", 2, world.Firmware("2.0", 2, upUpdateSize)); err != nil {
		return nil, err
	}
	v, err := w.AddDevice(ctx, vehicle, cfg)
	if err != nil {
		return nil, err
	}
	if err := v.Start(ctx); err != nil {
		return nil, err
	}
	if c.Empty || !c.drives() {
		return v, nil
	}
	return v, c.play(ctx, v, path, driven)
}

// drives says whether we play a log ourselves; an interface without a log is for others to send on.
func (c *Up) drives() bool { return len(c.Can) == 0 || c.Log != "" }

// play lets the vehicle drive until ctx ends.
func (c *Up) play(ctx context.Context, v *world.Device, path string, driven chan<- error) error {
	options, err := c.Options()
	if err != nil {
		return err
	}
	log, err := options.Scan(ctx, path)
	if err != nil {
		return err
	}
	for _, remark := range log.Remarks(true) {
		fmt.Fprintln(os.Stderr, remark)
	}
	if err := log.CheckLength(c.Speed); err != nil {
		return err
	}
	cfg := drive.PlayerConfig{Log: log, Hub: v.Hub, Speed: c.Speed, Start: time.Now(), Loop: true}
	if v.OnKernel() {
		cfg.Send = v.Send
	}
	player, err := drive.NewPlayer(cfg)
	if err != nil {
		return err
	}
	go func() { driven <- player.Run(ctx) }()
	return nil
}

// what is the log and its DBC files: the user's, or the one that is carried along.
func (c *Up) what(ctx context.Context) (string, map[string]scenario.Bus, error) {
	if c.Log != "" || len(c.DBC) > 0 {
		buses, err := c.Of(ctx, c.Log)
		return c.Log, buses, err
	}
	carried, err := recordings.RAV4(filepath.Join(c.Data, "recordings"))
	if err != nil {
		return "", nil, err
	}
	buses := map[string]scenario.Bus{}
	for name, file := range carried.DBC {
		buses[name] = scenario.Bus{DBC: []string{file}}
	}
	return carried.Log, buses, nil
}

// hints prints lines that work when pasted, in whatever folder.
func (c *Up) hints(ctx context.Context, w *world.World, ops world.Credentials, v *world.Device) error {
	p := w.Ports()
	ops = absolutes(ops)
	campaign := filepath.Join(c.Data, "slow.yaml")
	if err := os.WriteFile(campaign, []byte(slowCampaign), 0o600); err != nil {
		return err
	}
	fmt.Printf("cloud   http://%s   mqtts://%s   data in %s\n\n", p.HTTP, p.MQTT, shell.Absolute(c.Data))
	fmt.Printf("curl http://%s/v1/vehicles\n", p.HTTP)
	if v != nil {
		fmt.Printf("curl http://%s/v1/vehicles/%s/state\n", p.HTTP, upVehicle)
		fmt.Printf("curl -N http://%s/v1/vehicles/%s/events\n", p.HTTP, upVehicle)
	}
	inspect := append([]string{"inspect"}, client.APIFlag(p)...)
	fmt.Println(mosquitto("mosquitto_sub", p.MQTT, ops, "-t", "v1/+/up/#", "-F", "%t %x"), "|", shell.Command(shell.Anywhere(), inspect...))
	fmt.Println(mosquitto("mosquitto_sub", p.MQTT, ops, "-t", "v1/ops/config/campaign/+/result"))
	fmt.Println(mosquitto("mosquitto_pub", p.MQTT, ops, "-q", "1", "-t", "v1/ops/config/campaign/slow", "-f", shell.Absolute(campaign)))
	fmt.Println(shell.Command(shell.Anywhere(), append([]string{"campaign", "push"}, append(client.APIFlag(p), shell.Absolute(campaign))...)...))
	if v != nil {
		fmt.Println(shell.Command(shell.Anywhere(), append([]string{"update"}, append(client.APIFlag(p), upVehicle, shell.Absolute(c.update()))...)...))
		fmt.Println(shell.Command(shell.Anywhere(), append([]string{"update", "status"}, append(client.APIFlag(p), upVehicle)...)...))
		second, err := w.Identity(ctx, "bert", "tcu-b", filepath.Join(c.Data, "bert", "identity"))
		if err != nil {
			return err
		}
		fmt.Println(secondVehicle(w, v, second, filepath.Join(c.Data, "bert")))
	}
	if v != nil && !c.drives() {
		c.canplayer(v)
	}
	fmt.Println("\nCtrl-C ends it.")
	return nil
}

// canplayer prints how to send something on each interface.
func (c *Up) canplayer(v *world.Device) {
	fmt.Println("\nThe interfaces are yours to send on, for instance:")
	log := shell.Absolute(filepath.Join(c.Data, "recordings", "rav4.log.zst"))
	player := []string{"-l", "i", "-I", strings.TrimSuffix(log, ".zst")} // it repeats files, not its standard input
	for _, b := range v.Buses() {
		iface := v.Interface(b.Name)
		player = append(player, iface+"="+b.Name)
		if len(c.DBC) > 0 {
			fmt.Println(shell.Command("cangen", iface))
		}
	}
	if len(c.DBC) == 0 {
		fmt.Println(shell.Command("zstd", "-dqf", log), "&&", shell.Command("canplayer", player...))
	}
}

// secondVehicle is the agent's command line for another car on the same buses.
func secondVehicle(w *world.World, v *world.Device, creds world.Credentials, dir string) string {
	args := []string{"run", "--data", shell.Absolute(dir), "--endpoint", w.Ports().MQTT,
		"--cert", shell.Absolute(creds.Cert), "--key", shell.Absolute(creds.Key), "--ca", shell.Absolute(creds.CA)}
	args = append(args, client.DownloadFlag(w.Ports())...)
	for _, b := range v.Buses() {
		args = append(args, "--can", b.Name+"="+v.URL(b.Name))
		for _, file := range b.DBC {
			args = append(args, "--dbc", b.Name+"="+shell.Absolute(file))
		}
		if b.J1939 {
			args = append(args, "--j1939", b.Name)
		}
	}
	return shell.Command(shell.Absolute(w.AgentProgram()), args...)
}

// slowCampaign is an example to push: one value a second of each signal.
const slowCampaign = `apiVersion: campaigns.v1
kind: Campaign
metadata: {id: slow, revision: 1}
spec:
  collect:
    - {id: grid, every: 1s}
  encoding: {batch: {age: 10s}}
`
