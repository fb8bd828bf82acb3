package runner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"telltale.dev/firmware-images/guest"
)

const (
	consoleTail = 40              // lines of the console in an error
	dying       = 2 * time.Second // for a guest's last words
)

// panicked finds a kernel that gave up.
var panicked = regexp.MustCompile(`Kernel panic|Unable to handle kernel|Internal error: Oops`)

// listener receives what the guest's init says.
type listener struct {
	stdout, stderr io.Writer
	outputs        []string // host paths of the files that come back
	hello          func()
	opened         map[uint32]bool
}

// listen returns the program's exit code. It is io.EOF when the guest ended without one.
func (l *listener) listen(channel io.Reader) (int, error) {
	l.opened = map[uint32]bool{}
	for {
		kind, payload, err := guest.Read(channel)
		if err != nil {
			return 0, err
		}
		switch kind {
		case guest.Hello:
			l.hello()
		case guest.Stdout:
			_, err = l.stdout.Write(payload)
		case guest.Stderr:
			_, err = l.stderr.Write(payload)
		case guest.Output:
			err = l.output(payload)
		case guest.Broken:
			return 0, fmt.Errorf("the guest's init: %s", payload)
		case guest.Exit:
			if len(payload) != 4 {
				return 0, fmt.Errorf("exit code of %d bytes: expected 4", len(payload))
			}
			return int(int32(binary.BigEndian.Uint32(payload))), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// output appends a piece to a file of the host; the first piece makes it anew.
func (l *listener) output(payload []byte) error {
	if len(payload) < 4 {
		return errors.New("piece of a file: expected its number")
	}
	number := binary.BigEndian.Uint32(payload)
	if int(number) >= len(l.outputs) {
		return fmt.Errorf("piece of file %d: expected less than %d", number, len(l.outputs))
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if l.opened[number] {
		flags = os.O_WRONLY | os.O_APPEND
	}
	l.opened[number] = true
	f, err := os.OpenFile(l.outputs[number], flags, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(payload[4:]); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
