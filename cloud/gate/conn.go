package gate

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Conn is a connection that has a place. Its methods may be called from many goroutines.
type Conn struct {
	net.Conn
	gate    *Listener
	address address
	since   time.Time

	// Guarded by gate.mu.
	state  state
	timer  *time.Timer   // ends a stranger; nil for the others
	line   *list.Element // of gate.waiting; nil while it works
	own    *list.Element // of gate.addresses, or of gate.holders
	holder string
}

// state is what is known of a connection.
type state uint8

const (
	silent  state = iota // nothing whole has come from it
	greeted              // its first message has come
	known                // the room knows who holds it, and it works
	idle                 // known, and waits for its next request
	gone                 // it has no place any more
)

// address is what the strangers of one origin share.
type address = netip.Prefix

// addressOf gives an IPv4 address as it is, and of IPv6 the network of 64 bits.
func addressOf(raw net.Conn) address {
	remote, ok := raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return address{}
	}
	ip, bits := remote.AddrPort().Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	network, _ := ip.Prefix(bits) // fails only for more bits than there are
	return network
}

// add gives c a place among the silent. The caller holds mu.
func (l *Listener) add(c *Conn) {
	l.stats.Open++
	own := l.addresses[c.address]
	if own == nil {
		own = &lines{}
		l.addresses[c.address] = own
	}
	c.line, c.own = l.waiting.silent.PushBack(c), own.silent.PushBack(c)
	if l.cfg.Hello > 0 {
		c.timer = time.AfterFunc(l.cfg.Hello, func() { c.late(silent) })
	}
}

// late ends a stranger whose time in a state is over.
func (c *Conn) late(in state) {
	l := c.gate
	l.mu.Lock()
	over := c.state == in
	if over {
		l.stats.Slow++
		l.remove(c)
	}
	l.mu.Unlock()
	if over {
		_ = c.Conn.Close()
	}
}

// leave takes c out of the lines that it stands in. The caller holds mu.
func (l *Listener) leave(c *Conn) {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	switch c.state {
	case silent, greeted:
		own := l.addresses[c.address]
		if c.state == silent {
			l.waiting.silent.Remove(c.line)
			own.silent.Remove(c.own)
		} else {
			l.waiting.greeted.Remove(c.line)
			own.greeted.Remove(c.own)
		}
		if own.strangers() == 0 {
			delete(l.addresses, c.address)
		}
		c.own = nil
	case idle:
		l.waiting.idle.Remove(c.line)
	}
	c.line = nil
}

// remove takes c's place from it. The caller holds mu.
func (l *Listener) remove(c *Conn) {
	if c.state == gone {
		return
	}
	l.leave(c)
	if c.own != nil { // among those of its holder
		same := l.holders[c.holder]
		same.Remove(c.own)
		if same.Len() == 0 {
			delete(l.holders, c.holder)
		}
		c.own = nil
	}
	c.state = gone
	l.stats.Open--
}

// Greeted says that the first whole message has come. A stranger then has the rest of its time.
func (c *Conn) Greeted() {
	l := c.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.state != silent {
		return
	}
	l.leave(c)
	c.state = greeted
	own := l.addresses[c.address]
	if own == nil {
		own = &lines{}
		l.addresses[c.address] = own
	}
	c.line, c.own = l.waiting.greeted.PushBack(c), own.greeted.PushBack(c)
	if l.cfg.Patience > 0 {
		c.timer = time.AfterFunc(time.Until(c.since.Add(l.cfg.Patience)), func() { c.late(greeted) })
	}
}

// Known says who holds the connection, and that it works. An empty holder is nobody in particular.
// It may be said for each request; the first holder stays. When the holder
// has too many, its oldest connection is closed.
func (c *Conn) Known(holder string) {
	l := c.gate
	l.mu.Lock()
	victim := l.know(c, holder)
	l.mu.Unlock()
	if victim != nil {
		_ = victim.Conn.Close()
	}
}

// know is Known; it gives the connection to be closed. The caller holds mu.
func (l *Listener) know(c *Conn, holder string) (victim *Conn) {
	if c.state == known || c.state == gone {
		return nil
	}
	stranger := c.state != idle
	l.leave(c)
	c.state = known
	if !stranger || holder == "" || l.cfg.PerHolder <= 0 {
		return nil
	}
	same := l.holders[holder]
	if same == nil {
		same = list.New()
		l.holders[holder] = same
	}
	if full(same.Len(), l.cfg.PerHolder) {
		victim = front(same)
		l.shed(victim)
	}
	l.holders[holder] = same // the victim may have been the last
	c.holder, c.own = holder, same.PushBack(c)
	return victim
}

// Idle says that the connection waits for its next request: it may give way.
func (c *Conn) Idle() {
	l := c.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.state == known {
		c.state = idle
		c.line = l.waiting.idle.PushBack(c)
	}
}

// Close implements net.Conn, and gives the place back.
func (c *Conn) Close() error {
	l := c.gate
	l.mu.Lock()
	l.remove(c)
	l.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn when the connection below does; else it gives errors.ErrUnsupported.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if below, ok := c.Conn.(syscall.Conn); ok {
		return below.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite ends the sending half when the connection below has halves: package net/http asks for it.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
