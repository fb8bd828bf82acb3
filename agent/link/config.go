package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
)

// Buffer is what the link needs of agent/buffer. All methods may be called
// while others append. What End gives for a class is never less than what it
// gave before, and Read gives records in the order of their positions.
type Buffer interface {
	// Read gives the oldest unacknowledged records of class behind after (zero:
	// all), at most maxRecords, and more than maxBytes of payload only for the first.
	Read(after buffer.Position, class protocol.Priority, maxRecords, maxBytes int) ([]buffer.Entry, error)
	// End is the position of the newest record of class; zero when there never was one.
	End(class protocol.Priority) buffer.Position
	// Ack says that the record may be forgotten. Repeating it does no harm.
	Ack(buffer.Position)
	// Appended receives after appends. The link is its only reader.
	Appended() <-chan struct{}
}

// Expirer is an ability that a Buffer may have: to forget a record whose time is
// over and to declare its sequence as dropped, so that it does not look lost.
// Without it such a record is acknowledged away.
type Expirer interface {
	Expire(buffer.Position)
}

// Schemas gives schema documents by hash; false when there is none.
type Schemas interface {
	Schema(protocol.SchemaHash) ([]byte, bool)
}

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

	Buffer  Buffer
	Schemas Schemas
	// Routes say who takes what the cloud sends; what no route matches is refused. Inbox is the folder in which it
	// waits; it must be set when there are routes. Write puts a small file there; nil: durable.Replace.
	Routes []downlink.Route
	Inbox  string
	Write  func(path string, data []byte) error
	// Log; nil means slog.Default.
	Log *slog.Logger
}

// Queue sizes and limits.
const (
	defaultWindow = 16
	maxWindow     = 64
	windowBytes   = 256 << 10 // payload bytes under way; one record more is always allowed
	readRecords   = 16        // records read ahead per class, at most, and
	readBytes     = 64 << 10  // bytes of them
	maxAliases    = 32        // topic aliases of ours, when the server allows as many
	maxHeld       = 32        // records per lane that wait for a retry or a schema; full: the lane waits
	maxTries      = 8         // tries of a record refused with 0x80 or 0x83 before it is set aside
	sendBuffer    = 64 << 10  // bytes in the kernel: what is there can be overtaken by nothing urgent
	maxInbound    = protocol.MaxPacket
)

// Waits that are no settings.
const (
	maxRetryWait = time.Minute     // longest wait between tries of one record
	readRetry    = time.Second     // wait after an error of the buffer
	farewellTime = time.Second     // wait for the acknowledgement of the last presence
	writerGrace  = 2 * time.Second // longest a stuck write may delay a graceful stop, beyond DrainTime
)

// endpoint is one server.
type endpoint struct {
	address string // host:port
	host    string
	tls     bool
}

// parseEndpoint reads one of Config.Endpoints.
func parseEndpoint(s string) (endpoint, error) {
	e := endpoint{tls: true}
	port, rest := "8883", s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		switch scheme {
		case "mqtts", "ssl", "tls":
		case "mqtt", "tcp":
			e.tls, port = false, "1883"
		default:
			return e, fmt.Errorf("endpoint %q: scheme %q, expected mqtts or mqtt", s, scheme)
		}
		rest = strings.TrimSuffix(after, "/")
	}
	u, err := url.Parse("//" + rest)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return e, fmt.Errorf("endpoint %q: expected host:port or mqtts://host:port", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return e, fmt.Errorf("endpoint %q: port %q, expected 1 to 65535", s, port)
	}
	e.host = u.Hostname()
	e.address = net.JoinHostPort(e.host, port)
	if _, _, err := net.SplitHostPort(e.address); err != nil {
		return e, fmt.Errorf("endpoint %q: expected host:port or mqtts://host:port", s)
	}
	return e, nil
}

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
func (c Config) parseEndpoints() ([]endpoint, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("endpoints: expected at least one")
	}
	all := make([]endpoint, len(c.Endpoints))
	for i, s := range c.Endpoints {
		e, err := parseEndpoint(s)
		if err != nil {
			return nil, err
		}
		if e.tls && c.TLS == nil {
			return nil, fmt.Errorf("endpoint %q: expected TLS settings (write mqtt://%s for a connection without)", s, e.address)
		}
		all[i] = e
	}
	return all, nil
}
