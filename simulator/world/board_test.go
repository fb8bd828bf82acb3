package world_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/simulator/world"
)

// newBoard makes a board with a firmware in each of these slots, confirmed in their order.
func newBoard(t *testing.T, bootable ...slots.Slot) (dir string, b *world.Board) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "board")
	b, err := world.NewBoard(dir, world.Firmware("1.0", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	place(t, dir, "slot-b", world.Firmware("2.0", 2, 0))
	place(t, dir, "boot-state", uboot.EncodeState(bootable...))
	return dir, b
}

// place writes the beginning of a file of the board.
func place(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

func started(t *testing.T, b *world.Board, want slots.Slot) {
	t.Helper()
	if got, err := b.Start(); err != nil || got != want {
		t.Fatalf("started: got %q, %v, want %q", got, err, want)
	}
}

// TestBoardDamagedState: with every damaged form of the boot state the board starts A, and
// B when A cannot be; a new
// world finds the same board, and what the agent writes then is good.
func TestBoardDamagedState(t *testing.T) {
	good := uboot.EncodeState(slots.B, slots.A)
	checked := func(text string) []byte {
		sector := make([]byte, uboot.SectorSize)
		copy(sector[4:], text)
		binary.LittleEndian.PutUint32(sector, crc32.ChecksumIEEE(sector[4:]))
		return sector
	}
	forms := map[string][]byte{
		"empty":                   {},
		"half a sector":           good[:256],
		"one byte short":          good[:len(good)-1],
		"zeros":                   make([]byte, len(good)),
		"ones":                    bytes.Repeat([]byte{0xff}, len(good)),
		"zeros with their sum":    checked(""),
		"no order":                checked("BOOT_A_LEFT=3\x00BOOT_B_LEFT=3"),
		"an empty order":          checked("BOOT_A_LEFT=3\x00BOOT_B_LEFT=3\x00BOOT_ORDER="),
		"no starts of A":          checked("BOOT_B_LEFT=3\x00BOOT_ORDER=B A"),
		"no starts of B":          checked("BOOT_A_LEFT=3\x00BOOT_ORDER=B A"),
		"a strange slot":          checked("BOOT_A_LEFT=3\x00BOOT_B_LEFT=3\x00BOOT_ORDER=B C"),
		"too many starts":         checked("BOOT_A_LEFT=3\x00BOOT_B_LEFT=9\x00BOOT_ORDER=B A"),
		"a strange slot on trial": checked("BOOT_A_LEFT=3\x00BOOT_B_LEFT=3\x00BOOT_ORDER=B A\x00TELLTALE_TRIAL=x"),
	}
	for i := range 48 { // the checksum, the variables, and what follows
		one := bytes.Clone(good)
		one[i] ^= 0x10
		forms["byte "+string(rune('0'+i/10))+string(rune('0'+i%10))] = one
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			dir, b := newBoard(t, slots.B, slots.A)
			if err := os.WriteFile(filepath.Join(dir, "boot-state"), form, 0o600); err != nil {
				t.Fatal(err)
			}
			started(t, b, slots.A)
			started(t, b, slots.A)
			again, err := world.NewBoard(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			place(t, dir, "slot-a", make([]byte, 100))
			started(t, again, slots.B)
			s, err := again.Slots()
			if err != nil {
				t.Fatal(err)
			}
			if st, err := s.Status(); err != nil || st.Problem == "" {
				t.Errorf("got %+v, %v, want a problem", st, err)
			}
			if err := s.Prefer(slots.B); err != nil {
				t.Fatal(err)
			}
			started(t, again, slots.B)
			if st, err := s.Status(); err != nil || st.Problem != "" || st.Confirmed() != slots.B {
				t.Errorf("got %+v, %v, want B confirmed", st, err)
			}
		})
	}
}

// TestBoardWithoutState: a board whose boot state is gone keeps its firmwares and its key.
func TestBoardWithoutState(t *testing.T) {
	dir, b := newBoard(t, slots.B)
	key, err := os.ReadFile(b.Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "boot-state")); err != nil {
		t.Fatal(err)
	}
	if b, err = world.NewBoard(dir, world.Firmware("0.1", 1, 0)); err != nil {
		t.Fatal(err)
	}
	place(t, dir, "slot-a", make([]byte, 100))
	started(t, b, slots.B)
	if now, err := os.ReadFile(b.Key()); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the key has changed, or %v", err)
	}
}

// TestBoardCuts: a confirmed slot is started however often the power is cut.
func TestBoardCuts(t *testing.T) {
	_, b := newBoard(t, slots.B, slots.A)
	for range 3 * slots.Tries {
		started(t, b, slots.B)
	}
}
