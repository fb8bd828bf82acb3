package link

import (
	"context"
	"time"

	"telltale.dev/agent/link/session"
	"telltale.dev/agent/link/uplink"
	"telltale.dev/protocol"
)

// connection joins one session with the uplink's sender for it.
type connection struct {
	l        *Link
	endpoint session.Endpoint
	session  *session.Session
	sender   *uplink.Sender
}

// serve sends and receives until the connection is lost (an error) or ctx ends (nil).
func (c *connection) serve(ctx context.Context) error {
	birth, err := c.l.presenceItem(protocol.PresenceOnline, c.l.number, time.Time{})
	if err == nil {
		c.sender.First(birth)
		err = c.sender.Fill(time.Now()) // the birth leaves first
	}
	if err != nil {
		c.session.Fail(err)
		return c.end()
	}
	stop := context.AfterFunc(ctx, func() { c.session.Hurry(time.Now().Add(c.l.cfg.DrainTime + writerGrace)) })
	defer stop()
	defer c.l.subscription.start(context.WithoutCancel(ctx), c)() // it ends with the connection

	if err := c.loop(ctx); err != nil {
		c.session.Fail(err)
		return c.end()
	}
	c.farewell()
	_ = c.end()
	return nil
}

// loop is the connection's life. It returns nil when ctx ended.
func (c *connection) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if err := c.sender.Overdue(now); err != nil {
			return err
		}
		if err := c.sender.Fill(now); err != nil {
			return err
		}
		timer.Stop()
		if at := c.sender.WakeAt(now); !at.IsZero() {
			timer.Reset(at.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.session.Lost():
			return session.ErrClosed
		case a := <-c.session.Answers():
			c.sender.Answered(a, time.Now())
			c.collect()
		case <-c.l.cfg.Buffer.Appended():
			c.sender.Appended()
		case <-c.l.up.Changed():
		case <-timer.C:
		}
	}
}

// collect takes the answers that have arrived.
func (c *connection) collect() {
	for {
		select {
		case a := <-c.session.Answers():
			c.sender.Answered(a, time.Now())
		default:
			return
		}
	}
}

// end closes the connection, takes the last answers, and says why it ended.
func (c *connection) end() error {
	why := c.session.Close()
	c.collect()
	var suspicious []any
	if c.session.EndedByServer() {
		suspicious = c.session.UnderWay()
	}
	c.l.up.Disconnected(suspicious, time.Now())
	return why
}

// farewell waits for publishes under way, says that the device goes, and
// disconnects. The will is only called off when the server has accepted the last
// word; else it says that the device is lost, because a stale "online" would be a lie.
func (c *connection) farewell() {
	state, wakes, drain, farewell := c.l.lastWord()
	c.wait(drain, func() bool { return c.sender.UnderWay() == 0 })
	last, err := c.l.presenceItem(state, c.l.number, wakes)
	accepted := false
	if err == nil && c.sender.Send(last, time.Now()) {
		c.wait(farewell, last.Done)
		accepted = last.Stored()
	}
	c.session.Disconnect(!accepted)
}

// wait takes answers until done, at most for d, and not longer than the connection lives.
func (c *connection) wait(d time.Duration, done func() bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !done() {
		select {
		case a := <-c.session.Answers():
			c.sender.Answered(a, time.Now())
		case <-c.session.Lost():
			return
		case <-timer.C:
			return
		}
	}
}
