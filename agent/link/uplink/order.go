package uplink

import (
	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// order says which record is sent next. It is made anew for each connection.
//
// There are two lanes, hot (CS3 and above) and bulk, and hot goes first. In each
// lane live records, appended since the connection came up, go before the
// backlog, the highest class first in both; but one pick in backlogShare is the
// backlog's, so that neither starves:
//
//	       mark = buffer.End when the connection came up
//	          │
//	──────────┼──────────► positions of a class
//	 backlog →│ live →
//
// Records with Ordered set keep strict order within their class, over both
// stretches: one at a time (busy), and none of the live stretch before the backlog is
// through. The live stretch passes over them until then, and the backlog's reader
// comes back for them.
//
// Owned by the Sender.
type order struct {
	buf    Buffer
	lanes  [2]lane
	lowest protocol.Priority // classes below it stay where they are; see Hold
}

// The lanes, in the order of sending.
const (
	hotLane = iota
	bulkLane
)

// backlogShare: each so many-th record of a lane is taken from the backlog first.
const backlogShare = 4

type lane struct {
	classes []*class // highest first
	picks   int
}

// class is what is left to send of one priority class.
type class struct {
	priority protocol.Priority
	backlog  stretch // up to end
	end      buffer.Position
	through  bool // the backlog is: all of it was handed out
	ordered  bool // the backlog's reader is back for ordered records only
	passed   bool // live passed over ordered records
	live     stretch
	busy     bool // an ordered record is under way
	stuck    bool // an ordered record is kept back for long: the others behind it stay in the buffer for this connection
}

// stretch reads one stretch of a class.
type stretch struct {
	read  buffer.Position // of the last record in ahead
	taken buffer.Position // of the last record handed out or passed over
	ahead []buffer.Entry
	dry   bool // nothing behind read, until the next append
}

func laneOf(p protocol.Priority) int {
	if p.Hot() {
		return hotLane
	}
	return bulkLane
}

func newOrder(buf Buffer) *order {
	o := &order{buf: buf}
	for p := protocol.CS6; p >= protocol.CS0; p-- {
		mark := buf.End(p)
		c := &class{priority: p, end: mark, through: mark.Segment == 0}
		c.live.read, c.live.taken = mark, mark
		l := &o.lanes[laneOf(p)]
		l.classes = append(l.classes, c)
	}
	return o
}

// wake says that records were appended.
func (o *order) wake() {
	for i := range o.lanes {
		for _, c := range o.lanes[i].classes {
			c.live.dry = false
		}
	}
}

// next gives the record of a lane that is to be sent next; ok is false when there is none now.
func (o *order) next(which int) (e buffer.Entry, ok bool, err error) {
	l := &o.lanes[which]
	l.picks++
	first, second := (*order).nextLive, (*order).nextBacklog
	if l.picks%backlogShare == 0 {
		first, second = second, first
	}
	for _, from := range []func(*order, *class) (buffer.Entry, bool, error){first, second} {
		for _, c := range l.classes {
			if c.priority < o.lowest {
				continue
			}
			if e, ok, err = from(o, c); ok || err != nil {
				return e, ok, err
			}
		}
	}
	return buffer.Entry{}, false, nil
}

// settled says that an ordered record is stored, set aside or gone.
func (o *order) settled(p protocol.Priority) {
	for _, c := range o.lanes[laneOf(p)].classes {
		if c.priority == p {
			c.busy = false
		}
	}
}

// stick says that an ordered record is kept back.
func (o *order) stick(p protocol.Priority) {
	for _, c := range o.lanes[laneOf(p)].classes {
		c.stuck = c.stuck || c.priority == p
	}
}

func (o *order) nextLive(c *class) (buffer.Entry, bool, error) {
	for {
		e, ok, err := o.peek(c, &c.live)
		if !ok || err != nil {
			return e, false, err
		}
		if e.Record.Ordered && c.stuck {
			c.live.skip(e)
			continue
		}
		if !e.Record.Ordered || c.through {
			return o.take(c, &c.live, e)
		}
		c.passed = true
		c.live.skip(e)
	}
}

func (o *order) nextBacklog(c *class) (buffer.Entry, bool, error) {
	for !c.through {
		e, ok, err := o.peek(c, &c.backlog)
		switch {
		case err != nil:
			return e, false, err
		case !ok || c.end.Before(e.Position):
			c.turn()
		case c.ordered && !e.Record.Ordered, c.stuck && e.Record.Ordered:
			c.backlog.skip(e)
		default:
			return o.take(c, &c.backlog, e)
		}
	}
	return buffer.Entry{}, false, nil
}

// turn is called at the end of the backlog. When live passed over ordered
// records, what live has read becomes a backlog of ordered records.
func (c *class) turn() {
	if !c.passed {
		c.through = true
		c.backlog = stretch{}
		return
	}
	c.backlog = stretch{read: c.end, taken: c.end}
	c.end = c.live.taken
	c.ordered, c.passed = true, false
}

// take hands e out, unless it has to wait for an ordered one before it.
func (o *order) take(c *class, p *stretch, e buffer.Entry) (buffer.Entry, bool, error) {
	if e.Record.Ordered {
		if c.busy {
			return buffer.Entry{}, false, nil
		}
		c.busy = true
	}
	p.skip(e)
	return e, true, nil
}

// peek gives the record at the head of a stretch, reading ahead.
func (o *order) peek(c *class, p *stretch) (buffer.Entry, bool, error) {
	if len(p.ahead) == 0 && !p.dry {
		ahead, err := o.buf.Read(p.read, c.priority, readRecords, readBytes)
		if err != nil {
			return buffer.Entry{}, false, err
		}
		if p.ahead = ahead; len(ahead) > 0 {
			p.read = ahead[len(ahead)-1].Position
		}
	}
	if len(p.ahead) == 0 {
		p.dry = true
		return buffer.Entry{}, false, nil
	}
	return p.ahead[0], true, nil
}

// skip moves behind e, the head.
func (p *stretch) skip(e buffer.Entry) {
	p.ahead[0] = buffer.Entry{} // let go of the payload
	p.ahead = p.ahead[1:]
	p.taken = e.Position
}
