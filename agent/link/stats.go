package link

import (
	"sync"
	"time"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/agent/link/uplink"
)

// Stats are the link's counters since the start of the boot.
type Stats struct {
	Connected  bool      `json:"connected"`
	Since      time.Time `json:"since"`      // when Connected last changed; zero: never
	Endpoint   string    `json:"endpoint"`   // host:port of the present connection, or of the last attempt
	Connection uint64    `json:"connection"` // number of the last attempt to connect; from 1 within a boot
	// Guarantee is what the server's word is worth: "stored" when an acknowledged
	// record is on the cloud's disk, "" when the guarantee ends at a plain broker.
	Guarantee string `json:"guarantee"`

	uplink.Stats

	WireBytesUp   uint64 `json:"wire_bytes_up"` // MQTT bytes, without TLS and TCP, of finished connections
	WireBytesDown uint64 `json:"wire_bytes_down"`
	Losses        uint64 `json:"losses"`     // connections that ended without our wish
	LastError     string `json:"last_error"` // of the last failed attempt or lost connection
	// Down is what came from the cloud.
	Down downlink.Stats `json:"down"`
}

// counters is Stats with its lock, without those of uplink and downlink.
type counters struct {
	mu sync.Mutex // guards v
	v  Stats
}

func (c *counters) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.v)
}

// Stats gives a copy. It may be called at any time.
func (l *Link) Stats() Stats {
	l.stats.mu.Lock()
	s := l.stats.v
	l.stats.mu.Unlock()
	s.Stats, s.Down = l.up.Stats(), l.down.Stats()
	return s
}
