package link

import (
	"context"
	"time"

	"telltale.dev/agent/link/session"
)

// Some servers end a connection whose subscription they do not allow, instead of refusing it. Then the device would lose each
// connection at once, and hand over nothing. So after maxRefusals such ends in a row it connects first, and subscribes later: after
// a time that is twice as long each time, up to maxSubscribeRest.
const (
	maxRefusals      = 3
	maxSubscribeRest = time.Hour
)

// subscription is what is known about subscribing; owned by who owns the connection.
type subscription struct {
	refused int           // connections in a row that the server ended while it owed the answer
	rest    time.Duration // of a connection before it subscribes
}

// start subscribes to what the routes take, on a goroutine of its own. The function that it gives is called when the
// connection has ended: it waits for that goroutine, and notes what became of the subscription.
func (s *subscription) start(ctx context.Context, c *connection) (end func()) {
	ended, rest := make(chan struct{}), s.rest
	var asked, answered bool
	go func() {
		defer close(ended)
		if asked = c.patient(rest); asked {
			answered = c.subscribe(ctx)
		}
	}()
	return func() {
		<-ended
		s.note(asked, answered, c)
	}
}

// note learns from a connection that has ended.
func (s *subscription) note(asked, answered bool, c *connection) {
	switch {
	case answered:
		s.refused, s.rest = 0, 0
	case asked && c.session.EndedByServer():
		if s.refused++; s.refused < maxRefusals {
			return
		}
		s.rest = min(maxSubscribeRest, max(2*s.rest, 2*c.l.cfg.BackoffMin))
		if s.refused == maxRefusals {
			c.l.cfg.Log.Warn("the server ended several connections when something was subscribed: from now on that comes later, and what waits is handed over before",
				"endpoint", c.endpoint.Address)
		}
	}
}

// patient waits; false when the connection ended first.
func (c *connection) patient(rest time.Duration) bool {
	if rest == 0 {
		return true
	}
	over := time.NewTimer(rest)
	defer over.Stop()
	select {
	case <-c.session.Lost():
		return false
	case <-over.C:
		return true
	}
}

// subscribe asks for what the routes take, and says whether the server has answered.
func (c *connection) subscribe(ctx context.Context) (answered bool) {
	filters := c.l.down.Filters()
	if len(filters) == 0 {
		return true
	}
	answer, err := c.session.Subscribe(ctx, filters)
	if err != nil {
		c.l.cfg.Log.Warn("nothing is subscribed", "endpoint", c.endpoint.Address, "error", err)
	}
	kinds := c.l.down.Kinds()
	for i, code := range answer.Refused { // a filter has the vehicle's identifier, which is for no log
		c.l.cfg.Log.Warn("server refuses a subscription", "kind", kinds[i].Word(), "code", session.CodeText(code))
	}
	return answer.Answered
}
