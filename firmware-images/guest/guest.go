// Package guest is the conversation between telltale-vm on the host and
// telltale-vm-init, the first process of its guest: a job in the initramfs, and
// frames on a byte channel that no output of the tested program can imitate.
package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Where things lie in the guest.
const (
	Channel   = "telltale.job"     // the virtio-serial port of the frames
	Monitor   = "telltale.monitor" // the one behind which QEMU takes commands
	JobPath   = "telltale/job.json"
	Program   = "telltale/program"
	ModuleDir = "telltale/modules"
	Root      = "src"          // the module's root folder, with the files the program was given
	OutputDir = "telltale/out" // files that go back to the host, by number
)

// Marker is set to 1 in the program's environment: the kernel has vcan, ISO-TP
// and a TPM, so a test fails where elsewhere it would skip for lack of them.
// Programs of the host are not there.
const Marker = "TELLTALE_VM"

// MonitorPath in the program's environment is the device on which QEMU takes
// commands, a line each, such as system_powerdown: the virt board's power key.
const MonitorPath = "TELLTALE_VM_MONITOR"

// Job is what the guest is to do.
type Job struct {
	Args    []string  // of the program, without its name
	Env     []string  // KEY=value, besides PATH, HOME, TMPDIR and Marker
	Dir     string    // working directory, relative to Root
	Modules []Module  // kernel modules in the order of loading
	Early   int       // how many of them the channel to the host needs
	Outputs int       // how many files below OutputDir go back
	TPM     string    // virtio-serial port behind which a TPM answers; "": none
	Now     time.Time // the guest's clock starts here
}

// Module is a kernel module in ModuleDir and its parameters.
type Module struct{ Name, Params string }

// Kind says what a frame holds. Append only.
type Kind byte

// The kinds of frames, all from the guest to the host.
const (
	Hello  Kind = 1 // the init runs; no payload
	Stdout Kind = 2 // output of the program
	Stderr Kind = 3
	Output Kind = 4 // uint32 number of a file, then a piece of it
	Exit   Kind = 5 // uint32 exit code of the program; the last frame
	Broken Kind = 6 // why the init could not run the program; the last frame
)

// maxFrame bounds a frame's payload.
const maxFrame = 1 << 20

// Writer writes frames. Its methods may be called by any goroutine.
type Writer struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// NewWriter writes frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes one frame: kind, length, payload.
func (w *Writer) Write(kind Kind, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("guest: frame of %d bytes: expected at most %d", len(payload), maxFrame)
	}
	frame := append([]byte{byte(kind)}, binary.BigEndian.AppendUint32(nil, uint32(len(payload)))...)
	frame = append(frame, payload...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(frame); err != nil {
		return fmt.Errorf("guest: write a frame: %w", err)
	}
	return nil
}

// Read reads one frame. It is io.EOF when the channel ends between two frames.
func Read(r io.Reader) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("guest: read a frame: %w", err)
	}
	kind, size := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if kind < Hello || kind > Broken || size > maxFrame {
		return 0, nil, fmt.Errorf("guest: frame of kind %d with %d bytes: expected kinds 1 to 6 and at most %d", kind, size, maxFrame)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("guest: read a frame: %w", err)
	}
	return kind, payload, nil
}
