package link

import (
	"strings"
	"sync"
	"time"
	"unicode"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol"
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

	Window   int `json:"window"`    // publishes that may be under way now
	InFlight int `json:"in_flight"` // publishes under way
	// Lowest is the lowest class that is sent now; zero: all. See Link.Hold.
	Lowest protocol.Priority `json:"lowest"`

	Sent          uint64 `json:"sent"` // publishes, repeated ones too
	Acked         uint64 `json:"acked"`
	Retried       uint64 `json:"retried"`
	SetAside      uint64 `json:"set_aside"` // records, in the present or last connection
	SetAsideTotal uint64 `json:"set_aside_total"`
	TooLarge      uint64 `json:"too_large"` // of SetAsideTotal
	Expired       uint64 `json:"expired"`   // records dropped since their time was over,
	// ExpiredSamples: and the samples in them.
	ExpiredSamples uint64 `json:"expired_samples"`
	Schemas        uint64 `json:"schemas"` // schema documents acknowledged
	Dropped        uint64 `json:"dropped"` // messages that do not wait on disk, for want of a connection or of room
	PayloadBytes   uint64 `json:"payload_bytes"`
	WireBytesUp    uint64 `json:"wire_bytes_up"` // MQTT bytes, without TLS and TCP, of finished connections
	WireBytesDown  uint64 `json:"wire_bytes_down"`
	Losses         uint64 `json:"losses"`     // connections that ended without our wish
	LastError      string `json:"last_error"` // of the last failed attempt or lost connection
	// Down is what came from the cloud.
	Down downlink.Stats `json:"down"`
}

// counters is Stats with its lock.
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
	s.Dropped, s.Down = l.mailbox.lost(), l.down.Stats()
	return s
}

// printable makes a server's text fit for a log: one line, at most 128 bytes.
func printable(s string) string {
	const most = 128
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s[:min(len(s), most)])
	return s
}
