package canbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/protocol/can"
)

// ErrNotAllowed is wrapped when a frame may not be sent on a bus.
var ErrNotAllowed = errors.New("the configuration of the bus does not allow it")

// Permission says what may be sent on a bus. The zero Permission is nothing.
type Permission struct {
	all     bool
	allowed []can.Filter
}

// ParsePermission reads "off" or "" (nothing), "on" (everything) or a list of
// hexadecimal identifiers, 0x123,0x18FEF100x: with a closing x they have 29 bits.
func ParsePermission(text string) (Permission, error) {
	switch text {
	case "", "off":
		return Permission{}, nil
	case "on":
		return Permission{all: true}, nil
	}
	var p Permission
	for item := range strings.SplitSeq(text, ",") {
		digits, extended := strings.CutSuffix(item, "x")
		number, hex := strings.CutPrefix(digits, "0x")
		id, err := strconv.ParseUint(number, 16, 32)
		most := can.StandardMask
		if extended {
			most = can.ExtendedMask
		}
		if !hex || err != nil || can.ID(id) > most {
			return Permission{}, fmt.Errorf("expected on, off or identifiers such as 0x123 (up to 0x7FF) and 0x18FEF100x (29 bits), found %.32q", item)
		}
		if extended {
			id |= uint64(can.Extended)
		}
		p.allowed = append(p.allowed, can.ExactFilter(can.ID(id)))
	}
	return p, nil
}

// Nothing says whether nothing may be sent at all.
func (p Permission) Nothing() bool { return !p.all && len(p.allowed) == 0 }

// Allows says whether a frame may be sent. Error frames never are.
func (p Permission) Allows(f *can.Frame) bool {
	return f.Flags&can.Error == 0 && (p.all ||
		slices.ContainsFunc(p.allowed, func(a can.Filter) bool { return a.Match(f.ID) }))
}

// Guarded is a bus on which only what is permitted can be sent.
type Restricted struct {
	Bus
	name      string
	permitted Permission
}

var _ Sender = (*Restricted)(nil)

// Restrict makes b refuse to send what is not permitted; name is for its errors.
func Restrict(name string, b Bus, p Permission) *Restricted { return &Restricted{b, name, p} }

// Send implements Sender. When one of the frames is not permitted, none is sent.
func (g *Restricted) Send(ctx context.Context, frames []can.Frame) error {
	for i := range frames {
		if f := &frames[i]; !g.permitted.Allows(f) {
			return fmt.Errorf("can bus %s: sending %v: %w", g.name, can.ExactFilter(f.ID), ErrNotAllowed)
		}
	}
	s, ok := As[Sender](g.Bus)
	if !ok {
		return fmt.Errorf("can bus %s: sending: %w", g.name, errors.ErrUnsupported)
	}
	return s.Send(ctx, frames)
}

// Unwrap gives the bus below, whose other abilities stay in reach of As. It is not a way around Send: As finds that first.
func (g *Restricted) Unwrap() Bus { return g.Bus }
