// Package qemu runs a virtual machine for tests: QEMU's virt board for arm64
// and arm, the q35 PC for amd64, in software emulation; with KVM only where
// the processor shows it (a /dev/kvm that exists may not work).
//
// A Machine is a process with a console to read and type on, byte channels to
// programs in the guest (virtio-serial ports), drives and user networking. It
// can be killed at any moment, as a power cut does. What runs in the guest is
// not its business.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
)

// Arch is Go's name of an architecture.
type Arch string

// The architectures that can be emulated.
const (
	ARM64 Arch = "arm64"
	ARM   Arch = "arm"
	AMD64 Arch = "amd64"
)

// ErrMissing is wrapped by Start when a program it needs is not installed.
var ErrMissing = errors.New("program missing")

// Config of a Machine.
type Config struct {
	Arch    Arch
	CPU     string // QEMU's name of the processor; empty: the oldest that the kernel of Arch is for
	CPUs    int    // 0: one
	Memory  int    // MiB; 0: 512
	Reboots bool   // a guest that restarts goes on; false: QEMU ends

	// Boot a kernel directly, with its initramfs and command line, or firmware: one of Kernel and BIOS is set.
	Kernel, Initrd, Append string
	BIOS                   string
	DTB                    string // device tree given instead of QEMU's own; "": QEMU's

	// Drives are virtio block devices. The guest of the virt board sees them in
	// reverse order: the last one is its /dev/vda.
	Drives []Drive
	// Channels are virtio-serial ports by name, /dev/virtio-ports/<name> in the
	// guest under udev; the host's ends come from Machine.Channel.
	Channels []string
	// Network attaches user-mode networking: the guest is 10.0.2.15 and reaches the host's loopback as 10.0.2.2.
	Network bool
	// Forward leads from TCP ports of the host's loopback to ports of the guest. It needs Network.
	Forward map[int]int
	// CAN is how many CAN controllers (SJA1000, Linux's kvaser_pci) there are, all on one bus. They need PCI: not on ARM.
	CAN int
	// MonitorChannel is a virtio-serial port on which the guest commands its own
	// QEMU ("system_powerdown" presses the virt board's power key); "": none.
	MonitorChannel string
	TPM            *TPM // nil: none. It was started for the same Arch.

	Console io.Writer // gets a copy of what the guest's console prints; nil: none
	Args    []string  // further arguments to QEMU
}

// Drive is a disk image.
type Drive struct {
	Path     string
	Format   string // "": raw
	ReadOnly bool
	Snapshot bool // writes are thrown away
}

// Machine is a running or ended QEMU. Its methods may be called by any goroutine.
type Machine struct {
	console  *console
	keyboard io.WriteCloser
	channels map[string]net.Conn
	cmd      *exec.Cmd
	done     chan struct{} // closed when QEMU has ended; err is set before
	err      error
	once     sync.Once
}

// Start starts QEMU. The end of ctx kills it. The caller must call Close.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	args, err := arguments(cfg)
	if err != nil {
		return nil, err
	}
	program, err := exec.LookPath(binaries[cfg.Arch])
	if err != nil {
		return nil, fmt.Errorf("qemu: %w: %s (Debian's package %s)", ErrMissing, binaries[cfg.Arch], packages[cfg.Arch])
	}
	m := &Machine{console: newConsole(cfg.Console), channels: map[string]net.Conn{}, done: make(chan struct{})}
	m.cmd = exec.CommandContext(ctx, program, args...)
	m.cmd.Stdout = m.console
	var complaint bytes.Buffer
	m.cmd.Stderr = &complaint
	dieWithParent(m.cmd)
	if m.keyboard, err = m.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	if err := m.start(cfg); err != nil {
		m.closeChannels()
		return nil, fmt.Errorf("qemu: %w", err)
	}
	go func() {
		defer close(m.done)
		err := m.cmd.Wait()
		m.console.end()
		if text := bytes.TrimSpace(complaint.Bytes()); err != nil && len(text) > 0 {
			err = fmt.Errorf("%w: %s", err, text)
		}
		if err != nil {
			m.err = fmt.Errorf("qemu: %w", err)
		}
	}()
	return m, nil
}

// start opens the channels and starts the process.
func (m *Machine) start(cfg Config) error {
	defer func() {
		for _, f := range m.cmd.ExtraFiles {
			f.Close()
		}
	}()
	for _, name := range cfg.Channels { // in the order of arguments' fd numbers
		ours, theirs, err := socketPair(name)
		if err != nil {
			return fmt.Errorf("channel %s: %w", name, err)
		}
		m.channels[name] = ours
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, theirs)
	}
	if cfg.MonitorChannel != "" {
		monitor, port, err := filePair(cfg.MonitorChannel)
		if err != nil {
			return fmt.Errorf("channel %s: %w", cfg.MonitorChannel, err)
		}
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, monitor, port)
	}
	return m.cmd.Start()
}

// Done is closed when QEMU has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Wait waits for QEMU to end, or for ctx. It is nil when the guest powered off,
// or restarted and Config.Reboots is false.
func (m *Machine) Wait(ctx context.Context) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("qemu: waiting for the guest to power off: %w", ctx.Err())
	}
}

// Kill ends QEMU at once, as a power cut ends a device, and waits until it is
// gone. What the guest had not flushed to a drive may be lost.
func (m *Machine) Kill() {
	m.cmd.Process.Kill() // an error says that it is gone already
	<-m.done
}

// Close kills QEMU if it still runs and frees the channels.
func (m *Machine) Close() error {
	m.once.Do(func() {
		m.Kill()
		m.keyboard.Close()
		m.closeChannels()
	})
	return nil
}

func (m *Machine) closeChannels() {
	for _, c := range m.channels {
		c.Close()
	}
}

// Channel is the host's end of a channel named in the Config. Reads wait for
// the guest; they end with io.EOF when QEMU ends.
func (m *Machine) Channel(name string) net.Conn { return m.channels[name] }

// Output is all that the console has printed so far, of the last mebibytes.
func (m *Machine) Output() string { return m.console.text() }

// WaitFor waits until the console prints text behind what an earlier WaitFor
// found. Its error holds the last lines of the console.
func (m *Machine) WaitFor(ctx context.Context, text string) error {
	return m.console.waitFor(ctx, text)
}

// Type writes to the guest's console.
func (m *Machine) Type(text string) error {
	if _, err := io.WriteString(m.keyboard, text); err != nil {
		return fmt.Errorf("qemu: type: %w", err)
	}
	return nil
}

var _ io.Closer = (*Machine)(nil)

// fileConn turns a socket's file into a connection and closes the file.
func fileConn(f *os.File) (net.Conn, error) {
	defer f.Close()
	return net.FileConn(f)
}
