// Package slotstest is the suite that every driver of slots.Slots passes, and a
// fake in memory that passes it, too, for tests of what stands above the slots.
package slotstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"telltale.dev/hal/slots"
)

// Board is a driver with its surroundings. It begins as a fresh device: A runs and is confirmed, B is empty.
type Board struct {
	Slots func() slots.Slots // the driver, as opened after the last start
	Start func() slots.Slot  // a power-on as the boot loader handles it: the slot that runs then, "" for none
	// Spoil says whether the boot loader finds from now on that a slot cannot be verified; Install writes one that can.
	Spoil func(slot slots.Slot, spoilt bool)
	// LoseState makes the boot state unreadable.
	LoseState func()
	Content   func(slots.Slot) []byte // what the slot holds, from its first byte on
	Capacity  int64                   // of a slot, in bytes
}

// Run runs the suite; open gives a new board and cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Board) {
	for name, test := range map[string]func(*testing.T, Board){
		"begins with A":                  begins,
		"a good update":                  goodUpdate,
		"an update that nobody confirms": neverConfirmed,
		"a rollback":                     rollback,
		"nothing to roll back to":        noRollback,
		"images that do not fit":         sizes,
		"an image that breaks off":       breaksOff,
		"a reader that fails":            failingReader,
		"an end of the context":          endOfContext,
		"no install on trial":            onTrial,
		"a full slot":                    full,
		"the last try is the one":        lastTry,
		"cuts of a confirmed slot":       confirmedCuts,
		"a slot that cannot be read":     unreadable,
		"both slots are bad":             bothBad,
		"a preferred slot":               preferred,
		"a lost boot state":              lostState,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// want compares the status.
func (b Board) want(t *testing.T, want slots.Status) {
	t.Helper()
	got, err := b.Slots().Status()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("status: got %+v, want %+v", got, want)
	}
}

func (b Board) install(t *testing.T, image []byte) {
	t.Helper()
	if err := b.Slots().Install(t.Context(), bytes.NewReader(image), int64(len(image))); err != nil {
		t.Fatal(err)
	}
}

func (b Board) started(t *testing.T, want slots.Slot) {
	t.Helper()
	if got := b.Start(); got != want {
		t.Fatalf("started: got %q, want %q", got, want)
	}
}

func left(a, b int) map[slots.Slot]int { return map[slots.Slot]int{slots.A: a, slots.B: b} }

// image gives n bytes that differ from place to place.
func image(n int64) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i>>8 ^ i*7)
	}
	return out
}

func begins(t *testing.T, b Board) {
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
	b.started(t, "A")
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
	if err := b.Slots().Confirm(); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
}

func goodUpdate(t *testing.T, b Board) {
	first, second := image(b.Capacity/2), image(b.Capacity/3)
	b.install(t, first)
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"B", "A"}, Left: left(3, 3), OnTrial: "B"})
	if got := b.Content("B"); !bytes.HasPrefix(got, first) {
		t.Error("slot B does not hold the image")
	}
	b.started(t, "B")
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"B", "A"}, Left: left(3, 2), OnTrial: "B", Trial: true})
	if err := b.Slots().Confirm(); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"B", "A"}, Left: left(3, 3)})
	b.install(t, second)
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"A", "B"}, Left: left(3, 3), OnTrial: "A"})
	if got := b.Content("A"); !bytes.HasPrefix(got, second) {
		t.Error("slot A does not hold the image")
	}
	b.started(t, "A")
}

func neverConfirmed(t *testing.T, b Board) {
	b.install(t, image(100))
	for range slots.Tries {
		b.started(t, "B")
	}
	b.started(t, "A")
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"B", "A"}, Left: left(3, 0), OnTrial: "B"})
	if err := b.Slots().Confirm(); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A", "B"}, Left: left(3, 0), OnTrial: "B"})
	b.install(t, image(200)) // the next update gets a trial of its own
	b.started(t, "B")
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"B", "A"}, Left: left(3, 2), OnTrial: "B", Trial: true})
}

func rollback(t *testing.T, b Board) {
	b.install(t, image(100))
	b.started(t, "B")
	if err := b.Slots().Rollback(); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"A", "B"}, Left: left(3, 2)})
	b.started(t, "A")
}

func noRollback(t *testing.T, b Board) {
	if err := b.Slots().Rollback(); !errors.Is(err, slots.ErrUnbootable) {
		t.Errorf("got %v, want ErrUnbootable", err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
}

func sizes(t *testing.T, b Board) {
	for _, size := range []int64{-1, 0, b.Capacity + 1} {
		before := b.Content("B")
		if err := b.Slots().Install(t.Context(), bytes.NewReader(image(max(size, 0))), size); !errors.Is(err, slots.ErrSize) {
			t.Errorf("%d bytes: got %v, want ErrSize", size, err)
		}
		if !bytes.Equal(b.Content("B"), before) {
			t.Errorf("%d bytes: something was written", size)
		}
		b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
	}
}

// secondConfirmed makes B bootable first, so that an install has something to take out.
func (b Board) secondConfirmed(t *testing.T) {
	t.Helper()
	b.install(t, image(1000))
	b.started(t, "B")
	if err := errors.Join(b.Slots().Confirm(), b.Slots().Rollback()); err != nil {
		t.Fatal(err)
	}
	b.started(t, "A")
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A", "B"}, Left: left(3, 3)})
}

func breaksOff(t *testing.T, b Board) {
	b.secondConfirmed(t)
	for name, given := range map[string][]byte{"short": image(499), "long": image(501)} {
		if err := b.Slots().Install(t.Context(), bytes.NewReader(given), 500); !errors.Is(err, slots.ErrSize) {
			t.Errorf("%s: got %v, want ErrSize", name, err)
		}
		b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
	}
	b.started(t, "A")
}

func failingReader(t *testing.T, b Board) {
	b.secondConfirmed(t)
	broken := io.MultiReader(bytes.NewReader(image(300)), &failing{})
	if err := b.Slots().Install(t.Context(), broken, 500); !errors.Is(err, ErrInjected) {
		t.Errorf("got %v, want the reader's error", err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, ErrInjected }

func endOfContext(t *testing.T, b Board) {
	b.secondConfirmed(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Slots().Install(ctx, bytes.NewReader(image(500)), 500); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"A"}, Left: left(3, 0)})
}

func onTrial(t *testing.T, b Board) {
	b.install(t, image(100))
	b.started(t, "B")
	before := b.Content("A")
	if err := b.Slots().Install(t.Context(), bytes.NewReader(image(50)), 50); !errors.Is(err, slots.ErrTrial) {
		t.Errorf("got %v, want ErrTrial", err)
	}
	if !bytes.Equal(b.Content("A"), before) {
		t.Error("something was written")
	}
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"B", "A"}, Left: left(3, 2), OnTrial: "B", Trial: true})
}

func full(t *testing.T, b Board) {
	whole := image(b.Capacity)
	b.install(t, whole)
	if !bytes.Equal(b.Content("B"), whole) {
		t.Error("slot B does not hold the image")
	}
}

// lastTry installs while the start that runs was the last one left.
func lastTry(t *testing.T, b Board) {
	for range slots.Tries {
		b.started(t, "A")
	}
	if err := b.Slots().Install(t.Context(), &failing{}, 10); !errors.Is(err, ErrInjected) {
		t.Errorf("got %v, want the reader's error", err)
	}
	b.started(t, "A")
}

// confirmedCuts cuts every start of a confirmed slot: it stays what it is.
func confirmedCuts(t *testing.T, b Board) {
	b.secondConfirmed(t) // A first, B may be started
	before, err := b.Slots().Status()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * slots.Tries {
		b.started(t, "A")
	}
	b.want(t, before)
}

// unreadable: a slot that is passed over stays the confirmed one, and is tried at each start.
func unreadable(t *testing.T, b Board) {
	b.secondConfirmed(t)
	b.Spoil("A", true)
	for range 2 * slots.Tries {
		b.started(t, "B")
	}
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"A", "B"}, Left: left(3, 3)})
	b.Spoil("A", false)
	b.started(t, "A")
}

// bothBad: what is on trial and what is confirmed is not forgotten.
func bothBad(t *testing.T, b Board) {
	b.install(t, image(100))
	b.started(t, "B")
	b.Spoil("A", true)
	b.started(t, "B")
	b.started(t, "B")
	b.started(t, "B") // its starts are used up, A is bad: all begins anew
	b.want(t, slots.Status{Booted: "B", Order: []slots.Slot{"B", "A"}, Left: left(3, 2), OnTrial: "B", Trial: true})
	b.Spoil("B", true)
	b.started(t, "")
	b.Spoil("A", false)
	b.started(t, "A")
}

func preferred(t *testing.T, b Board) {
	if err := b.Slots().Prefer(""); !errors.Is(err, slots.ErrBooted) {
		t.Errorf("no slot: got %v, want ErrBooted", err)
	}
	b.install(t, image(100))
	if err := b.Slots().Prefer("B"); !errors.Is(err, slots.ErrTrial) {
		t.Errorf("a slot on trial: got %v, want ErrTrial", err)
	}
	b.started(t, "B")
	if err := b.Slots().Prefer("A"); !errors.Is(err, slots.ErrTrial) {
		t.Errorf("run by a slot on trial: got %v, want ErrTrial", err)
	}
	if err := b.Slots().Confirm(); err != nil {
		t.Fatal(err)
	}
	b.Spoil("B", true)
	b.started(t, "A")
	if err := b.Slots().Prefer("B"); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"B", "A"}, Left: left(3, 3)})
}

func lostState(t *testing.T, b Board) {
	b.install(t, image(100))
	b.started(t, "B")
	if err := b.Slots().Confirm(); err != nil {
		t.Fatal(err)
	}
	b.LoseState()
	for range 2 * slots.Tries {
		b.started(t, "A") // A, then B
	}
	st, err := b.Slots().Status()
	if err != nil || st.Problem == "" || st.Confirmed() != "" || st.Next() != "A" {
		t.Errorf("got %+v, %v, want a problem, and nobody knows which slot is confirmed", st, err)
	}
	if err := b.Slots().Prefer("B"); err != nil {
		t.Fatal(err)
	}
	b.want(t, slots.Status{Booted: "A", Order: []slots.Slot{"B", "A"}, Left: left(3, 3)})
	b.LoseState()
	b.Spoil("A", true)
	b.started(t, "B")
}
