// Package gate stands between a listener and the room that serves it, so that
// people without a certificate cannot take what vehicles and operators need: file
// descriptors and places.
//
//	net.Listener ── gate.Listener ── room: broker, downloads, API
//
// Whoever has not said who it is yet is a stranger. Strangers have a bounded number
// of places, in all and for each address, and little time. When a newcomer finds no
// place, the stranger that has been silent for longest gives way; newcomers are
// refused only when nobody can. Known connections never give way while they work.
//
//	accepted ─► silent ─Greeted─► greeted ─Known─► known ◄─Known─ idle
//	                                                 └────Idle────►
//
// The gate is not for TLS, for MQTT or for HTTP: the room says what it learns by the methods
// of Conn. A room imports no other, and so asserts these on the net.Conn that it gets.
package gate

import (
	"container/list"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Config of a Listener. Zero values of the numbers mean no bound, those of the times no limit.
type Config struct {
	Name       string        // of the listener, for the log
	Places     int           // connections in all; each costs one file descriptor
	Strangers  int           // of them those of strangers
	PerAddress int           // strangers of one address; of IPv6 of one /64, since that is what one customer gets (RFC 6177)
	PerHolder  int           // known connections of one holder; a further one ends the oldest
	Hello      time.Duration // for a stranger's first whole message, a ClientHello or a request, from the start on
	Patience   time.Duration // for a stranger that has sent it to become known, from the start on
	Log        *slog.Logger  // discarded when nil
}

const (
	// greetedGrace is how long a stranger that has sent its first message does not give way: its handshake goes on,
	// and a fleet that comes back at once would else cut off its own. Who floods faster than that needs the processors too.
	greetedGrace = 250 * time.Millisecond
	// Accepting is tried again after a passing error.
	backoffMin = 5 * time.Millisecond
	backoffMax = time.Second
	// logEvery bounds how often a passing error is said, though each is counted.
	logEvery = 10 * time.Second
	// shedPart of the strangers give way at once when the process has no file descriptor left.
	shedPart = 4
)

// Stats counts since the start; Open and Strangers are of now.
type Stats struct {
	Open, Strangers int
	Refused         uint64 // newcomers closed at once: no place, and nobody who could give way
	Shed            uint64 // strangers and idle ones that gave way to a newcomer
	Slow            uint64 // strangers whose time was over
	AcceptErrors    uint64 // passing: no file descriptor, reset in the backlog
}

// Listener is a net.Listener behind a gate. Its methods may be called from many goroutines.
type Listener struct {
	net.Listener
	cfg     Config
	log     *slog.Logger
	closed  chan struct{}
	closing sync.Once

	mu        sync.Mutex // guards what follows, and the fields of Conn that say so
	stats     Stats
	said      time.Time             // when a passing error was logged last
	waiting   lines                 // everybody who may give way
	addresses map[address]*lines    // strangers by address
	holders   map[string]*list.List // known connections by holder, oldest first
}

// lines are connections in the order in which they give way.
type lines struct{ silent, greeted, idle list.List }

// strangers counts those who are not known.
func (l *lines) strangers() int { return l.silent.Len() + l.greeted.Len() }

// New puts a gate before inner.
func New(inner net.Listener, cfg Config) *Listener {
	l := &Listener{
		Listener: inner, cfg: cfg, log: cfg.Log, closed: make(chan struct{}),
		addresses: make(map[address]*lines), holders: make(map[string]*list.List),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Close implements net.Listener. Connections stay open.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept implements net.Listener. It returns an error only when the listener is
// closed: any other one is passing (no file descriptor left, connection reset in the
// backlog), and Accept goes on after a while.
func (l *Listener) Accept() (net.Conn, error) {
	backoff := backoffMin
	for {
		raw, err := l.Listener.Accept()
		switch {
		case err == nil:
			backoff = backoffMin
			if c := l.enter(raw); c != nil {
				return c, nil
			}
		case l.isClosed() || errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			l.pass(err, backoff)
			backoff = min(2*backoff, backoffMax)
		}
	}
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// pass waits until accepting may be tried again. Without a file descriptor strangers give way, for the whole process.
func (l *Listener) pass(err error, wait time.Duration) {
	var victims []*Conn
	l.mu.Lock()
	l.stats.AcceptErrors++
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		for n := (l.waiting.strangers() + shedPart - 1) / shedPart; n > 0; n-- {
			if c := l.oldest(&l.waiting, time.Time{}); c != nil {
				l.shed(c)
				victims = append(victims, c)
			}
		}
	}
	say := time.Since(l.said) >= logEvery
	if say {
		l.said = time.Now()
	}
	l.mu.Unlock()
	closeAll(victims)
	if say {
		l.log.Warn("accepting a connection failed for now", "listener", l.cfg.Name, "err", err, "again_in", wait, "strangers_closed", len(victims))
	}
	select {
	case <-l.closed:
	case <-time.After(wait):
	}
}

// enter gives a newcomer its place, or closes it and gives nil.
func (l *Listener) enter(raw net.Conn) *Conn {
	c := &Conn{Conn: raw, gate: l, address: addressOf(raw), since: time.Now()}
	l.mu.Lock()
	victim, ok := l.makeRoom(c)
	if ok {
		l.add(c)
	} else {
		l.stats.Refused++
	}
	l.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
	if !ok {
		_ = raw.Close()
		return nil
	}
	return c
}

// makeRoom says whether c may come in, and who gave way for it, if anybody. The caller holds mu.
func (l *Listener) makeRoom(c *Conn) (victim *Conn, ok bool) {
	own := l.addresses[c.address]
	settled := c.since.Add(-greetedGrace) // who came before has had its time
	switch {
	case own != nil && full(own.strangers(), l.cfg.PerAddress):
		victim = l.oldest(own, settled)
	case full(l.waiting.strangers(), l.cfg.Strangers):
		victim = l.oldest(&l.waiting, settled)
	case full(l.stats.Open, l.cfg.Places):
		if victim = l.oldest(&l.waiting, settled); victim == nil {
			victim = front(&l.waiting.idle)
		}
	default:
		return nil, true
	}
	if victim == nil {
		return nil, false
	}
	l.shed(victim)
	return victim, true
}

func full(n, limit int) bool { return limit > 0 && n >= limit }

// oldest gives the stranger who is to give way: the one that is silent for longest, else the one whose
// handshake lasts longest if it came before settled (zero: whenever it came). The caller holds mu.
func (l *Listener) oldest(from *lines, settled time.Time) *Conn {
	if c := front(&from.silent); c != nil {
		return c
	}
	if c := front(&from.greeted); c != nil && (settled.IsZero() || c.since.Before(settled)) {
		return c
	}
	return nil
}

func front(line *list.List) *Conn {
	if e := line.Front(); e != nil {
		return e.Value.(*Conn)
	}
	return nil
}

// shed takes a connection out that gives way; the caller holds mu and closes it afterwards.
func (l *Listener) shed(c *Conn) {
	l.stats.Shed++
	l.remove(c)
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

// Stats may be called at any time.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Strangers = l.waiting.strangers()
	return s
}

// TLS gives a server's configuration that tells the gate when a ClientHello has come.
func TLS(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c := below(hello.Conn); c != nil {
			c.Greeted()
		}
		return nil, nil // go on with the same configuration
	}
	return config
}
