package downlink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"telltale.dev/protocol/topics"
)

// Mode says what a newer message of a topic means for an older one.
type Mode uint8

// The modes.
const (
	// Newest is for documents: only the newest message of a topic counts. A newer one that can be used (Route.Revision)
	// takes the place of one that waits, and ends the context of one that is being taken. When a document cannot be written to the
	// inbox it is refused but taken all the same: it comes again with the next connection.
	Newest Mode = iota
	// Each is for requests: every message counts. One that cannot be written is refused and not taken.
	Each
)

// Route says who takes messages of a kind.
type Route struct {
	Kind topics.Kind // one that is addressed to a vehicle
	Name string      // the document or command; empty: any
	Mode Mode
	// Take looks into a message, and returns when it has been dealt with for good or ctx has ended: ctx ends when the
	// agent stops, and for documents when a newer one of the topic is there. After an end of ctx the message
	// stays in the inbox for the next start, unless a newer one has taken its place. It may take long: nobody else waits
	// for it. It is called by one goroutine at a time, again after a crash, and owns the payload.
	Take func(ctx context.Context, m Message)
	// Revision gives the revision of a document, and whether this agent can use it; nil: it can use all, and they are of one
	// revision. A newer one that can be used and is of no lower revision makes an older one of its topic useless. One
	// that cannot be used makes nothing useless: the older one stays, and both are taken in their order. It is asked once
	// for a document, only when an older one waits or is being taken, while the server waits for an answer, so it must be quick.
	Revision func(payload []byte) (revision uint64, usable bool)
	// MaxMessages and MaxBytes (of payload) bound what waits for Take, on disk and in memory; zero means 16 and 512 KiB.
	// What comes beyond is refused with 0x97: only senders of this route's messages pay. One message alone is always allowed.
	MaxMessages, MaxBytes int
}

const (
	defaultMessages = 16
	defaultBytes    = 512 << 10
)

// check says what is wrong with a route.
func (r *Route) check() error {
	switch {
	case !r.Kind.Down():
		return fmt.Errorf("route of %s: expected a kind that is addressed to a vehicle", r.Kind.Word())
	case r.Take == nil:
		return fmt.Errorf("route of %s: expected Take", r.Kind.Word())
	case r.MaxMessages < 0 || r.MaxBytes < 0:
		return errors.New("route: expected bounds of 0 or more")
	}
	return nil
}

func (r *Route) matches(t topics.Topic) bool {
	return r.Kind == t.Kind && (r.Name == "" || r.Name == t.Name)
}

// Kinds are what the routes take, each once.
func (d *Downlink) Kinds() (kinds []topics.Kind) {
	for _, q := range d.queues {
		if k := q.route.Kind; !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// Filters are the subscriptions that the routes need, in the order of Kinds.
func (d *Downlink) Filters() (filters []string) {
	for _, k := range d.Kinds() {
		filters = append(filters, topics.Topic{Kind: k, Vehicle: d.cfg.Vehicle, Name: "+", ID: "+"}.String())
	}
	return filters
}
