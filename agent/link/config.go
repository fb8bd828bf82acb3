package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// Config of a Link. Endpoints, Vehicle, Device, Boot, Buffer and Schemas must be set.
type Config struct {
	// Endpoints are tried in turn: host:port or mqtts://host[:8883] over TLS,
	// mqtt://host[:1883] without (for a broker on the same machine only).
	Endpoints []string
	// TLS holds roots and the device's certificate; needed for endpoints over TLS. It is cloned.
	TLS     *tls.Config
	Vehicle protocol.VehicleID
	Device  protocol.DeviceID // also the MQTT client identifier
	Boot    protocol.BootID
	Version string // of the agent's software, told in presence

	// KeepAlive is 1 s to 18 h in whole seconds; SessionExpiry must exceed
	// WillDelay. Zero means the defaults of package protocol.
	KeepAlive, SessionExpiry, WillDelay time.Duration
	// Window is how many publishes may be under way, 1 to 64; zero means 16. A
	// server may ask for fewer.
	Window int
	// BackoffMin and BackoffMax bound the random wait between attempts, and between
	// tries of a record that the server refuses for now; zero means 1 s and 5 min.
	BackoffMin, BackoffMax time.Duration
	// PowerJitter bounds the random wait before the first attempt after power-on and after
	// a loss, so that a fleet does not come back in one instant; zero means BackoffMin, negative none.
	PowerJitter time.Duration
	// Timeout bounds each of TCP connect, TLS handshake, CONNACK and SUBACK; zero means 10 s.
	Timeout time.Duration
	// AckTimeout: when publishes are under way and none is acknowledged for so long, or a
	// write is stuck for so long, the connection counts as lost; zero means 30 s.
	AckTimeout time.Duration
	// DrainTime is how long a graceful stop waits for publishes under way; zero means 2 s.
	DrainTime time.Duration

	Buffer  uplink.Buffer
	Schemas uplink.Schemas
	// Routes say who takes what the cloud sends; what no route matches is refused. Inbox is the folder in which it
	// waits; it must be set when there are routes. Write puts a small file there; nil: durable.Replace.
	Routes []downlink.Route
	Inbox  string
	Write  func(path string, data []byte) error
	// Log; nil means slog.Default.
	Log *slog.Logger
}

// Limits and waits that are no settings.
const (
	defaultWindow = 16
	maxWindow     = 64
	farewellTime  = time.Second     // wait for the acknowledgement of the last presence
	writerGrace   = 2 * time.Second // longest a stuck write may delay a graceful stop, beyond DrainTime
)

// withDefaults fills zero fields.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.KeepAlive, protocol.DefaultKeepAlive)
	set(&c.SessionExpiry, protocol.DefaultSessionExpiry)
	set(&c.WillDelay, protocol.DefaultWillDelay)
	set(&c.BackoffMin, time.Second)
	set(&c.BackoffMax, max(5*time.Minute, c.BackoffMin))
	set(&c.PowerJitter, c.BackoffMin)
	set(&c.Timeout, 10*time.Second)
	set(&c.AckTimeout, 30*time.Second)
	set(&c.DrainTime, 2*time.Second)
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// check says which setting is wrong and what was expected.
func (c Config) check() error {
	_, vehicleErr := protocol.ParseVehicleID(string(c.Vehicle))
	_, deviceErr := protocol.ParseDeviceID(string(c.Device))
	if err := errors.Join(vehicleErr, deviceErr); err != nil {
		return err
	}
	switch {
	case c.Boot == protocol.BootID{}:
		return errors.New("boot id: expected one drawn at start")
	case c.Buffer == nil || c.Schemas == nil:
		return errors.New("buffer and schemas: expected both")
	case c.Window < 1 || c.Window > maxWindow:
		return fmt.Errorf("window %d: expected 1 to %d", c.Window, maxWindow)
	}
	return c.checkTimes()
}

func (c Config) checkTimes() error {
	switch {
	case c.KeepAlive < time.Second || c.KeepAlive > math.MaxUint16*time.Second:
		return fmt.Errorf("keep-alive %v: expected 1 s to 18 h", c.KeepAlive)
	case c.SessionExpiry <= c.WillDelay || c.WillDelay < 0 || c.SessionExpiry > math.MaxUint32*time.Second:
		return fmt.Errorf("session expiry %v, will delay %v: expected the expiry to be the longer one", c.SessionExpiry, c.WillDelay)
	case c.BackoffMin <= 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("back-off %v to %v: expected a range above zero", c.BackoffMin, c.BackoffMax)
	case c.Timeout < 0 || c.AckTimeout < 0 || c.DrainTime < 0:
		return errors.New("timeouts: expected none below zero")
	}
	return nil
}

// parseEndpoints reads all endpoints; those over TLS need TLS settings.
func (c Config) parseEndpoints() ([]session.Endpoint, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("endpoints: expected at least one")
	}
	all := make([]session.Endpoint, len(c.Endpoints))
	for i, s := range c.Endpoints {
		e, err := session.ParseEndpoint(s)
		if err != nil {
			return nil, err
		}
		if e.TLS && c.TLS == nil {
			return nil, fmt.Errorf("endpoint %q: expected TLS settings (write mqtt://%s for a connection without)", s, e.Address)
		}
		all[i] = e
	}
	return all, nil
}
