// Package settings reads what a board says to telltale-init, its init.yaml: on the
// machine, and before that when the image is built. It does nothing about it.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v3"

	"telltale.dev/hal/canbus/socketcan"
)

// Init is the content of a board's init.yaml.
type Init struct {
	Watchdog struct {
		Device  string        `yaml:"device"`  // "": none
		Timeout time.Duration `yaml:"timeout"` // 0: 30 s
	} `yaml:"watchdog"`
	Network struct {
		Interface string        `yaml:"interface"` // "": none
		Wait      time.Duration `yaml:"wait"`      // between attempts; 0: 5 s
	} `yaml:"network"`
	Buses []Bus  `yaml:"buses"`
	TPM   string `yaml:"tpm"` // virtio-serial port of a TPM without a driver; "": the kernel has one, or none
	Data  string `yaml:"data"`
	// Identity is the partition with the device's identity, a tar archive.
	Identity string `yaml:"identity"`
	Agent    Agent  `yaml:"agent"`
}

// Bus is a CAN interface to bring up.
type Bus struct {
	Name string `yaml:"name"`
	Make string `yaml:"make"` // vcan: made here; "": the kernel's driver makes it
	// Listen is the bus's URL as in agent.yaml: the socket is opened before the agent
	// starts, which gets it. "": the agent opens it, and loses what came before.
	Listen string `yaml:"listen"`
	// Cable is a virtio-serial port whose other end puts candump lines on the bus. Only virtual boards have one.
	Cable string `yaml:"cable"`
}

// Agent says how the agent is run.
type Agent struct {
	Command []string `yaml:"command"`
	// User is the number of the user, and of its group, as which it runs; it has nobody else's files and no rights of root.
	User int `yaml:"user"`
	// Start is how long it may take until it says that it is ready, Silence how
	// long it may show no sign of life later.
	Start   time.Duration `yaml:"start"`
	Silence time.Duration `yaml:"silence"`
	// Tries is how often in a row it may end or fall silent before the machine restarts.
	Tries int `yaml:"tries"`
	// Downgrades lets the agent install older releases, and go back from a confirmed one, when the cloud asks for it
	// (telltale update --allow-downgrade). Nothing that is signed says that the cloud did: whoever takes the agent over can start any
	// firmware that was ever signed for the board. It is for development.
	Downgrades bool `yaml:"downgrades"`
}

// AgentUser is the user of agents whose board names no other; maxUser bounds what it names (65534 is nobody).
const (
	AgentUser = 990
	maxUser   = 65533
)

// AgentData is the agent's folder on the data partition: what a board's agent.yaml must say as data. It
// belongs to the agent's user; the partition's root does not, so that no other program can put something
// else in the place of telltale-init's files.
const AgentData = "/data/telltale"

// defaults hold what the file leaves out.
func defaults() Init {
	var c Init
	c.Watchdog.Timeout = 30 * time.Second
	c.Network.Wait = 5 * time.Second
	c.Data, c.Identity = "data", "identity"
	c.Agent = Agent{User: AgentUser, Start: 30 * time.Second, Silence: 30 * time.Second, Tries: 5}
	return c
}

// Parse reads the text of the file. The error names the file, the key and what was expected.
func Parse(text []byte) (Init, error) {
	c := defaults()
	in := yaml.NewDecoder(bytes.NewReader(text))
	in.KnownFields(true)
	if err := in.Decode(&c); err != nil {
		return Init{}, fmt.Errorf("init.yaml: %w", err)
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Init{}, errors.New("init.yaml: expected one YAML document")
	}
	if err := c.Agent.check(); err != nil {
		return Init{}, fmt.Errorf("init.yaml: %w", err)
	}
	if c.Watchdog.Timeout < 2*time.Second || c.Watchdog.Timeout > 10*time.Minute {
		return Init{}, errors.New("init.yaml: watchdog.timeout: expected 2s to 10m")
	}
	for _, b := range c.Buses {
		if b.Name == "" || (b.Make != "" && b.Make != "vcan") {
			return Init{}, fmt.Errorf("init.yaml: buses: expected a name, and vcan or nothing as make; found %q and %q", b.Name, b.Make)
		}
		if b.Listen == "" {
			continue
		}
		if o, err := socketcan.ParseURL(b.Listen); err != nil {
			return Init{}, fmt.Errorf("init.yaml: buses: %s: listen: %w", b.Name, err)
		} else if o.Interface != b.Name {
			return Init{}, fmt.Errorf("init.yaml: buses: %s: listen: expected a URL of this interface, found one of %s", b.Name, o.Interface)
		}
	}
	return c, nil
}

// check says what of it cannot be.
func (a *Agent) check() error {
	switch {
	case len(a.Command) == 0:
		return errors.New("agent.command: expected a program with its arguments")
	case a.Tries < 1 || a.Start <= 0 || a.Silence <= 0:
		return errors.New("agent: expected tries, start and silence above 0")
	case a.User < 1 || a.User > maxUser:
		return fmt.Errorf("agent.user: expected a number from 1 to %d: the agent does not run as root", maxUser)
	}
	return nil
}
