package world

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// BoardName is the hardware that update files for a Board must be for.
const BoardName = "simulated"

// slotSize is the size of a slot, in bytes. The files are sparse.
const slotSize = 64 << 20

// Board is a device with two firmware slots and a boot loader, played with plain
// files: the boot state is the one of the real boards, a slot holds a text that
// says which firmware it is, and Start does what the boot loader's script does.
//
//	version=2.0
//	release=8
//	flag=--some-flag-of-the-agent    (any number of them: how a firmware is made that is not healthy)
type Board struct {
	dir    string
	booted slots.Slot
}

// NewBoard opens the board in dir, made with a firmware in slot A when it is not there.
func NewBoard(dir string, runs []byte) (*Board, error) {
	b := &Board{dir: dir}
	if _, err := os.Stat(b.state()); err == nil {
		return b, nil
	}
	if _, err := os.Stat(b.updateKey()); err == nil { // both slots are there: only the boot state is lost
		if err := os.WriteFile(b.state(), nil, 0o600); err != nil {
			return nil, fmt.Errorf("board: %w", err)
		}
		return b, nil
	}
	if err := os.MkdirAll(b.Keys(), 0o700); err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	for _, slot := range slots.All() {
		var text []byte
		if slot == slots.A {
			text = runs
		}
		if err := errors.Join(os.WriteFile(b.image(slot), text, 0o600), os.Truncate(b.image(slot), slotSize)); err != nil {
			return nil, fmt.Errorf("board: %w", err)
		}
	}
	if err := b.makeKey(); err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	if err := os.WriteFile(b.state(), uboot.EncodeState(slots.A), 0o600); err != nil { // last: with it the board is there
		return nil, fmt.Errorf("board: %w", err)
	}
	return b, nil
}

// makeKey makes the key that signs updates for the board.
func (b *Board) makeKey() error {
	private, public, err := signed.GenerateKey()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(b.Key(), private, 0o600), os.WriteFile(b.updateKey(), public, 0o600))
}

// Key is the file of the private key that signs updates for the board.
func (b *Board) Key() string { return filepath.Join(b.dir, "update.key") }

// Firmware is the text of a firmware, filled up to size bytes, at least those that it needs.
func Firmware(version string, release uint64, size int, flags ...string) []byte {
	text := fmt.Sprintf("version=%s\nrelease=%d\n", version, release)
	for _, f := range flags {
		text += "flag=" + f + "\n"
	}
	return append([]byte(text), make([]byte, max(0, size-len(text)))...)
}

// Sign writes an update file for the board to out.
func (b *Board) Sign(out, version string, release uint64, payload []byte) error {
	text, err := os.ReadFile(b.Key())
	if err != nil {
		return fmt.Errorf("board: %w", err)
	}
	key, err := signed.ParsePrivateKey(text)
	if err != nil {
		return fmt.Errorf("board: update key: %w", err)
	}
	var file bytes.Buffer
	m := firmware.Manifest{Board: BoardName, Version: version, Release: release}
	if _, err := firmware.Sign(&file, m, bytes.NewReader(payload), key); err != nil {
		return err
	}
	return os.WriteFile(out, file.Bytes(), 0o600)
}

// Keys is the folder of the public keys that the board trusts.
func (b *Board) Keys() string { return filepath.Join(b.dir, "keys") }

func (b *Board) updateKey() string { return filepath.Join(b.Keys(), "update.pem") }

func (b *Board) state() string { return filepath.Join(b.dir, "boot-state") }
func (b *Board) image(slot slots.Slot) string {
	return filepath.Join(b.dir, "slot-"+strings.ToLower(string(slot)))
}

// Slots are the board's slots as the running firmware sees them.
func (b *Board) Slots() (slots.Slots, error) {
	return uboot.Open(b.places())
}

func (b *Board) places() uboot.Config {
	return uboot.Config{
		State: b.state(), Images: map[slots.Slot]string{slots.A: b.image(slots.A), slots.B: b.image(slots.B)}, Booted: b.booted,
	}
}

// Booted is the slot that runs; empty before the first Start.
func (b *Board) Booted() slots.Slot { return b.booted }

// Start is a power-on, as the boot loader of the real boards handles it: see uboot.Boot. A slot can
// be started when it holds a firmware.
func (b *Board) Start() (slots.Slot, error) {
	b.booted = ""
	slot, err := uboot.Boot(b.places(), func(slot slots.Slot) bool { _, err := b.content(slot); return err == nil })
	if err != nil {
		return "", fmt.Errorf("board: %w", err)
	}
	if slot == "" {
		return "", errors.New("board: no slot holds a firmware")
	}
	b.booted = slot
	return slot, nil
}

// Settled says whether the running slot is not on trial, or not any more.
func (b *Board) Settled() (bool, error) {
	s, err := b.Slots()
	if err != nil {
		return false, err
	}
	st, err := s.Status()
	return !st.Trial, err
}

// boardFirmware is what the text of a slot says.
type boardFirmware struct {
	version string
	release uint64
	flags   []string
}

// maxFirmware bounds the text of a slot.
const maxFirmware = 64 << 10

func (b *Board) content(slot slots.Slot) (f boardFirmware, err error) {
	file, err := os.Open(b.image(slot))
	if err != nil {
		return f, err
	}
	defer file.Close()
	text := make([]byte, maxFirmware)
	n, _ := file.Read(text)
	text, _, _ = bytes.Cut(text[:n], []byte{0})
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "version":
			f.version = value
		case "release":
			f.release, err = strconv.ParseUint(value, 10, 64)
		case "flag":
			f.flags = append(f.flags, value)
		}
	}
	if f.version == "" || err != nil {
		return f, errors.New("board: slot holds no firmware")
	}
	return f, nil
}

// arguments are those of an agent that runs in the booted firmware.
func (b *Board) arguments() ([]string, error) {
	f, err := b.content(b.booted)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("uboot:state=%s,a=%s,b=%s,booted=%s", b.state(), b.image(slots.A), b.image(slots.B), b.booted)
	return append([]string{
		"--slots", url, "--update-keys", b.Keys(), "--update-board", BoardName,
		"--update-version", f.version, "--update-release", strconv.FormatUint(f.release, 10),
	}, f.flags...), nil
}
