package uboot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/slotstest"
	"telltale.dev/hal/slots/uboot"
)

// offset keeps the boot state away from the start of its file, as on a device without partition names.
const offset = 4096

// board is a device made of files.
type board struct {
	t      *testing.T
	cfg    uboot.Config
	spoilt map[slots.Slot]bool // cannot be verified
}

func newBoard(t *testing.T, capacity int64) *board {
	t.Helper()
	dir := t.TempDir()
	b := &board{t: t, spoilt: map[slots.Slot]bool{slots.B: true}, cfg: uboot.Config{
		State: filepath.Join(dir, "state"), Offset: offset, Booted: slots.A,
		Images: map[slots.Slot]string{slots.A: filepath.Join(dir, "a"), slots.B: filepath.Join(dir, "b")},
	}}
	for path, data := range map[string][]byte{
		b.cfg.State:           append(make([]byte, offset), uboot.EncodeState(slots.A)...),
		b.cfg.Images[slots.A]: make([]byte, capacity),
		b.cfg.Images[slots.B]: make([]byte, capacity),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *board) slots() slots.Slots {
	s, err := uboot.Open(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// start is a power-on.
func (b *board) start() slots.Slot {
	slot, err := uboot.Boot(b.cfg, func(slot slots.Slot) bool { return !b.spoilt[slot] })
	if err != nil {
		b.t.Fatal(err)
	}
	b.cfg.Booted = slot
	return slot
}

func (b *board) sector() []byte {
	b.t.Helper()
	data, err := os.ReadFile(b.cfg.State)
	if err != nil {
		b.t.Fatal(err)
	}
	return data[offset:]
}

func (b *board) write(sector []byte) {
	b.t.Helper()
	f, err := os.OpenFile(b.cfg.State, os.O_RDWR, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(sector, offset); err != nil {
		b.t.Fatal(err)
	}
}

func (b *board) content(slot slots.Slot) []byte {
	data, err := os.ReadFile(b.cfg.Images[slot])
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// installing notes that a slot holds something good after an install.
type installing struct {
	slots.Slots
	b *board
}

func (s installing) Install(ctx context.Context, image io.Reader, size int64) error {
	err := s.Slots.Install(ctx, image, size)
	if err == nil {
		s.b.spoilt[s.b.cfg.Booted.Other()] = false
	}
	return err
}

func TestSuite(t *testing.T) {
	slotstest.Run(t, func(t *testing.T) slotstest.Board {
		const capacity = 3<<20 + 512 // more than one chunk, and no multiple of it
		b := newBoard(t, capacity)
		return slotstest.Board{
			Slots: func() slots.Slots { return installing{b.slots(), b} }, Start: b.start, Content: b.content, Capacity: capacity,
			Spoil:     func(slot slots.Slot, spoilt bool) { b.spoilt[slot] = spoilt },
			LoseState: func() { b.write(make([]byte, uboot.SectorSize)) },
		}
	})
}

// TestDamagedState wants the default, said and never fatal, and a good sector after the next change.
func TestDamagedState(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"a flipped bit":     func(s []byte) []byte { s[40] ^= 4; return s },
		"zeros":             func(s []byte) []byte { return make([]byte, len(s)) },
		"ones":              func(s []byte) []byte { return bytes.Repeat([]byte{0xff}, len(s)) },
		"no end":            func(s []byte) []byte { return checksummed(append(s[:4], bytes.Repeat([]byte("x"), 508)...)) },
		"a missing count":   func(s []byte) []byte { return replaced(s, "BOOT_B_LEFT", "BOOT_C_LEFT") },
		"a missing order":   func(s []byte) []byte { return replaced(s, "BOOT_ORDER", "BOOT_ORDEX") },
		"a strange slot":    func(s []byte) []byte { return replaced(s, "ORDER=A", "ORDER=C") },
		"too many tries":    func(s []byte) []byte { return replaced(s, "A_LEFT=3", "A_LEFT=4") },
		"a count in words":  func(s []byte) []byte { return replaced(s, "A_LEFT=3", "A_LEFT=x") },
		"a name used twice": func(s []byte) []byte { return replaced(s, "BOOT_B_LEFT", "BOOT_A_LEFT") },
		"no name":           func(s []byte) []byte { return replaced(s, "BOOT_B_LEFT=0", "=BOOT_B_LEFT0") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, 4096)
			b.write(damage(b.sector()))
			got, err := b.slots().Status()
			if err != nil || len(got.Order) != 2 || got.Order[0] != "A" || got.Left["A"] != 3 || got.Left["B"] != 3 || got.Trial {
				t.Errorf("got %+v and %v, want the default", got, err)
			}
			if !strings.HasPrefix(got.Problem, "boot state: ") {
				t.Errorf("problem: got %q, want it named", got.Problem)
			}
			if err := b.slots().Confirm(); err != nil {
				t.Fatal(err)
			}
			if got, err = b.slots().Status(); err != nil || got.Problem != "" {
				t.Errorf("after a change: got %+v and %v, want no problem", got, err)
			}
		})
	}
}

func replaced(sector []byte, old, fresh string) []byte {
	return checksummed(bytes.Replace(sector, []byte(old), []byte(fresh), 1))
}

// TestKeepsStrangeVariables wants what others have stored to stay.
func TestKeepsStrangeVariables(t *testing.T) {
	b := newBoard(t, 4096)
	sector := b.sector()
	copy(sector[4+bytes.Index(sector[4:], []byte{0, 0})+1:], "zebra=has stripes\x00\x00")
	b.write(checksummed(sector))
	if err := b.slots().Install(t.Context(), bytes.NewReader([]byte("x")), 1); err != nil {
		t.Fatal(err)
	}
	if got := b.sector(); !bytes.Contains(got, []byte("\x00zebra=has stripes\x00")) {
		t.Errorf("got %q", got)
	}
	got, err := b.slots().Status()
	if err != nil || got.Problem != "" || got.Order[0] != "B" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestNeverHalf reads the boot state at each step of an install: B is
// never startable before the last byte.
func TestNeverHalf(t *testing.T) {
	b := newBoard(t, 4<<20)
	steps := 0
	watched := readFunc(func(p []byte) (int, error) {
		status, err := b.slots().Status()
		if err != nil || status.Bootable(slots.B) || !status.Bootable(slots.A) {
			t.Errorf("step %d: got %+v, %v", steps, status, err)
		}
		steps++
		return len(p), nil
	})
	if err := b.slots().Install(t.Context(), io.LimitReader(watched, 4<<20), 4<<20); err != nil || steps < 4 {
		t.Errorf("got %v after %d steps", err, steps)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestCancelled ends an install between two chunks.
func TestCancelled(t *testing.T) {
	b := newBoard(t, 4<<20)
	ctx, cancel := context.WithCancel(t.Context())
	stops := readFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := b.slots().Install(ctx, stops, 4<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestReadBack lets another process overwrite the slot while it is written.
func TestReadBack(t *testing.T) {
	b := newBoard(t, 4<<20)
	spoils := readFunc(func(p []byte) (int, error) {
		if len(p) == 1 { // asked whether the image goes on
			if err := os.WriteFile(b.cfg.Images[slots.B], make([]byte, 4<<20), 0o600); err != nil {
				t.Error(err)
			}
			return 0, io.EOF
		}
		for i := range p {
			p[i] = 1
		}
		return len(p), nil
	})
	if err := b.slots().Install(t.Context(), spoils, 2<<20); !errors.Is(err, slots.ErrReadBack) {
		t.Errorf("got %v, want ErrReadBack", err)
	}
	if got, _ := b.slots().Status(); got.Bootable(slots.B) {
		t.Errorf("got %+v, want B out", got)
	}
}

// TestChangesExcludeEachOther runs changes side by side; a torn sector would show as a problem.
func TestChangesExcludeEachOther(t *testing.T) {
	b := newBoard(t, 4096)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if err := b.slots().Confirm(); err != nil {
					t.Error(err)
				}
				if got, err := b.slots().Status(); err != nil || got.Problem != "" {
					t.Errorf("got %+v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestRefusals(t *testing.T) {
	b := newBoard(t, 4096)
	for name, change := range map[string]func(*uboot.Config){
		"no state":    func(c *uboot.Config) { c.State = "" },
		"no slots":    func(c *uboot.Config) { c.Images = nil },
		"one for two": func(c *uboot.Config) { c.Images = map[slots.Slot]string{slots.A: "a", slots.B: "a"} },
		"strange one": func(c *uboot.Config) { c.Booted = "C" },
	} {
		cfg := b.cfg
		change(&cfg)
		if _, err := uboot.Open(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	b.cfg.Booted = ""
	s := b.slots()
	for name, err := range map[string]error{
		"install": s.Install(t.Context(), bytes.NewReader(nil), 1), "confirm": s.Confirm(), "rollback": s.Rollback(),
	} {
		if !errors.Is(err, slots.ErrBooted) {
			t.Errorf("%s: got %v, want ErrBooted", name, err)
		}
	}
	b.cfg.Booted, b.cfg.State = slots.A, filepath.Join(t.TempDir(), "secret", "gone")
	if _, err := b.slots().Status(); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want not exist, without the path", err)
	}
}

// TestTwoInstalls: while one is under way another one is refused, and spoils nothing.
func TestTwoInstalls(t *testing.T) {
	b := newBoard(t, 4096)
	in, out := io.Pipe()
	first := make(chan error, 1)
	go func() { first <- b.slots().Install(t.Context(), in, 4) }()
	if _, err := out.Write([]byte("go")); err != nil { // it is reading now
		t.Fatal(err)
	}
	if err := b.slots().Install(t.Context(), bytes.NewReader([]byte("xxxx")), 4); !errors.Is(err, slots.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if _, err := out.Write([]byte("od")); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(b.cfg.Images[slots.B])
	if err != nil || string(image[:4]) != "good" {
		t.Errorf("slot B: got %q, %v, want good", image[:min(4, len(image))], err)
	}
	if err := b.slots().Install(t.Context(), bytes.NewReader([]byte("next")), 4); err != nil {
		t.Errorf("afterwards: got %v", err)
	}
}
