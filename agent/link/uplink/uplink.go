// Package uplink decides what goes to the cloud next, and what each of the server's
// answers means for it.
//
// An Uplink lives as long as the agent runs; a Sender as long as one connection. A
// Sender keeps a window of publishes under way, each tied to a position in the buffer,
// and only the server's PUBACK lets the buffer forget a record. Nothing is
// remembered beyond a connection but the buffer itself, which records look deadly (suspects.go), and which schema
// documents each server has: after a loss the unacknowledged records are sent again, and the cloud de-duplicates.
//
// Read sender.go for the window, order.go for what goes first, and mailbox.go for messages that do not
// wait on disk. It knows no network and starts no goroutine: who owns the connection calls it.
package uplink

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/agent/buffer"
	"telltale.dev/agent/link/session"
	"telltale.dev/protocol"
)

// Buffer is what the uplink needs of agent/buffer. All methods may be called
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
	// Appended receives after appends. The connection is its only reader.
	Appended() <-chan struct{}
}

// Expirer is an ability that a Buffer may have: to forget a record whose time is
// over and to declare its sequence as dropped, so that it does not look lost.
// Without it such a record is acknowledged away.
type Expirer interface {
	Expire(buffer.Position)
}

// Purger is an ability that a Buffer may have: to forget what waits of a purpose, also what the uplink has read already.
type Purger interface {
	// Send calls write, unless the record was purged since it was read: then it gives buffer.ErrPurged, or
	// buffer.ErrUndecided while a purge is under way: it is asked again later.
	Send(pos buffer.Position, purpose string, write func() error) error
}

// Schemas gives schema documents by hash; false when there is none.
type Schemas interface {
	Schema(protocol.SchemaHash) ([]byte, bool)
}

// Config of an Uplink. All fields must be set.
type Config struct {
	Vehicle protocol.VehicleID
	Buffer  Buffer
	Schemas Schemas
	// BackoffMin and BackoffMax bound the random wait between tries of a record that the server refuses for now.
	BackoffMin, BackoffMax time.Duration
	// AckTimeout: when publishes are under way and none is answered for so long the connection counts as lost.
	AckTimeout time.Duration
	Log        *slog.Logger
}

// Queue sizes and limits.
const (
	windowBytes = 256 << 10 // payload bytes under way; one record more is always allowed
	readRecords = 16        // records read ahead per class, at most, and
	readBytes   = 64 << 10  // bytes of them
	maxHeld     = 32        // records per lane that wait for a retry or a schema; full: the lane waits
	maxTries    = 8         // tries of a record refused with 0x80 or 0x83 before it is set aside

	maxRetryWait = time.Minute // longest wait between tries of one record
	readRetry    = time.Second // wait after an error of the buffer
)

// Uplink is what outlives connections.
type Uplink struct {
	cfg     Config
	began   time.Time                                // before any record of this boot, by the monotonic clock, too
	ends    [protocol.Priorities + 1]buffer.Position // what is behind it was made in this boot; by class
	stats   counters
	mailbox mailbox
	lowest  atomic.Uint32 // protocol.Priority: records below it are held
	changed chan struct{} // receives after Hold and Send; capacity 1

	// Owned by who owns the connection.
	strikes map[any]strikes                         // by Item.suspectKey; see suspects.go
	schemas map[string]map[protocol.SchemaHash]bool // acknowledged in this boot, by server
}

// New makes an Uplink.
func New(cfg Config) *Uplink {
	u := &Uplink{
		cfg: cfg, began: time.Now(), changed: make(chan struct{}, 1),
		strikes: map[any]strikes{}, schemas: map[string]map[protocol.SchemaHash]bool{},
	}
	for class := protocol.CS0; class <= protocol.CS6; class++ {
		u.ends[class] = cfg.Buffer.End(class)
	}
	return u
}

// Changed receives after Hold and Send: then it is time for Sender.Fill.
func (u *Uplink) Changed() <-chan struct{} { return u.changed }

func (u *Uplink) signal() {
	select {
	case u.changed <- struct{}{}:
	default: // it will look anyhow
	}
}

// Publish writes one publish, as session.Session.Publish does.
type Publish func(token any, p *paho.Publish, alias bool) error

// Connect makes the Sender of a new connection to a server, whose name is the same at each connection to it.
func (u *Uplink) Connect(server string, limits session.Limits, publish Publish) *Sender {
	known := u.schemas[server]
	if known == nil {
		known = map[protocol.SchemaHash]bool{}
		u.schemas[server] = known
	}
	u.stats.add(func(s *Stats) { s.Window, s.InFlight, s.SetAside = limits.Window, 0, 0 })
	u.mailbox.open()
	return &Sender{
		u: u, order: newOrder(u.cfg.Buffer), publish: publish, server: limits,
		window: limits.Window, waiting: map[protocol.SchemaHash][]*Item{}, known: known,
		refused: map[protocol.SchemaHash]bool{}, told: map[string]bool{},
	}
}

// Disconnected ends what belongs to a connection. For a connection that the other side ended, underWay are the tokens of
// publishes without an answer: one of them may be why.
func (u *Uplink) Disconnected(underWay []any, now time.Time) {
	u.mailbox.close()
	u.stats.add(func(s *Stats) { s.InFlight = 0 })
	u.strike(underWay, now)
}

// Stats are the uplink's counters since the start of the boot.
type Stats struct {
	Window   int `json:"window"`    // publishes that may be under way now
	InFlight int `json:"in_flight"` // publishes under way
	// Lowest is the lowest class that is sent now; zero: all. See Uplink.Hold.
	Lowest protocol.Priority `json:"lowest"`

	Sent          uint64    `json:"sent"` // publishes, repeated ones too
	Acked         uint64    `json:"acked"`
	LastAck       time.Time `json:"last_ack,omitzero"` // when Acked last grew
	Retried       uint64    `json:"retried"`
	SetAside      uint64    `json:"set_aside"` // records, in the present or last connection
	SetAsideTotal uint64    `json:"set_aside_total"`
	TooLarge      uint64    `json:"too_large"` // of SetAsideTotal
	Expired       uint64    `json:"expired"`   // records dropped since their time was over,
	// ExpiredSamples: and the samples in them.
	ExpiredSamples uint64 `json:"expired_samples"`
	Schemas        uint64 `json:"schemas"` // schema documents acknowledged
	Dropped        uint64 `json:"dropped"` // messages that do not wait on disk, for want of a connection or of room
	PayloadBytes   uint64 `json:"payload_bytes"`
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
func (u *Uplink) Stats() Stats {
	u.stats.mu.Lock()
	s := u.stats.v
	u.stats.mu.Unlock()
	s.Dropped = u.mailbox.lost()
	return s
}
