package canbus_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// wire is a bus that remembers what was sent, and can filter.
type wire struct {
	canbus.Bus
	sent    []can.Frame
	filters []can.Filter
}

func (w *wire) Send(_ context.Context, frames []can.Frame) error {
	w.sent = append(w.sent, frames...)
	return nil
}
func (w *wire) MaxFilters() int                 { return 2 }
func (w *wire) SetFilters(f []can.Filter) error { w.filters = f; return nil }

func TestGuard(t *testing.T) {
	standard, extended := can.Frame{ID: 0x123}, can.Frame{ID: 0x18FEF100 | can.Extended}
	tests := []struct {
		permission string
		frames     []can.Frame
		sent       int
	}{
		{"", []can.Frame{standard}, 0},
		{"off", []can.Frame{standard}, 0},
		{"on", []can.Frame{standard, extended}, 2},
		{"on", []can.Frame{{ID: 4, Flags: can.Error}}, 0},
		{"0x123", []can.Frame{standard, standard}, 2},
		{"0x123", []can.Frame{extended}, 0},
		{"0x123", []can.Frame{{ID: 0x123 | can.Extended}}, 0},
		{"0x124,0x18FEF100x", []can.Frame{extended}, 1},
		{"0x124,0x18FEF100x", []can.Frame{extended, standard}, 0}, // all or nothing
		{"0x123", nil, 0},
	}
	for _, c := range tests {
		p, err := canbus.ParsePermission(c.permission)
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{}
		err = canbus.Restrict("can0", w, p).Send(t.Context(), c.frames)
		if refused := len(c.frames) > 0 && c.sent == 0; errors.Is(err, canbus.ErrNotAllowed) != refused || !refused && err != nil {
			t.Errorf("send=%s: got %v", c.permission, err)
		}
		if len(w.sent) != c.sent {
			t.Errorf("send=%s: %d frames on the bus, want %d", c.permission, len(w.sent), c.sent)
		}
		if (c.permission == "" || c.permission == "off") != p.Nothing() {
			t.Errorf("send=%s: Nothing says %v", c.permission, p.Nothing())
		}
	}
}

func TestParsePermissionErrors(t *testing.T) {
	for _, text := range []string{"yes", "0x800", "123", "0x20000000x", "0x123,", "0x", "-0x1", "0x123 ,0x1", "0X123"} {
		if p, err := canbus.ParsePermission(text); err == nil || !strings.Contains(err.Error(), "0x18FEF100x") {
			t.Errorf("%q: got %+v, %v, want an error that shows the form", text, p, err)
		}
	}
}

// TestAs: what a guarded bus can do else stays in reach, but sending only through the guard.
func TestAs(t *testing.T) {
	w := &wire{}
	guarded := canbus.Restrict("can0", w, canbus.Permission{})
	if f, ok := canbus.As[canbus.Filterer](guarded); !ok || f.MaxFilters() != 2 {
		t.Error("the filterer below is out of reach")
	}
	if _, ok := canbus.As[canbus.Inspector](guarded); ok {
		t.Error("got an inspector where there is none")
	}
	s, ok := canbus.As[canbus.Sender](guarded)
	if !ok || s != canbus.Sender(guarded) {
		t.Error("As[Sender] goes around the guard")
	}
	var none struct{ canbus.Bus }
	all, _ := canbus.ParsePermission("on")
	if err := canbus.Restrict("can0", none, all).Send(t.Context(), []can.Frame{{}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want %v", err, errors.ErrUnsupported)
	}
}
