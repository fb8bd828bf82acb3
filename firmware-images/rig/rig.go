// Package rig is the virtual board on a bench: an image in QEMU with its disk, a
// TPM in software, a cloud on the host that it connects to, and recorded frames
// that are put on its bus. Power can be cut at any moment.
//
// It runs telltale-cloud as a program and knows nothing of how agent and cloud
// work. What an update should do is not its business: tests that use it say so.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"telltale.dev/firmware-images/image"
	"telltale.dev/firmware-images/qemu"
)

// host is how the guest reaches the host's loopback in QEMU's user networking.
const host = "10.0.2.2"

// cable is the virtio-serial port that leads to the board's bus.
const cable = "telltale.can0"

// Config of a Rig. All but Console, Log and TPM must be set.
type Config struct {
	Image    string    // folder that telltale-image build has written
	Dir      string    // folder of disk, cloud and TPM; what is there is used again
	Programs string    // folder of telltale-cloud
	Vehicle  string    // identity of the device
	Device   string    //
	TPM      bool      // swtpm behind the board's TPM port
	Console  io.Writer // gets what the board prints; nil: nobody
	CloudLog io.Writer // gets what the cloud says; nil: nobody
	Ports    Ports     // of the cloud; zero: any
}

// Rig is a board with its cloud. Its methods are called by one goroutine, but for Play and Output.
type Rig struct {
	cfg     Config
	cloud   *cloud
	tpm     *qemu.TPM
	machine *qemu.Machine
}

// New starts the cloud and gives the board's disk an identity there. The board is off.
func New(ctx context.Context, cfg Config) (*Rig, error) {
	r := &Rig{cfg: cfg}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	if err := r.start(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("rig: %w", err)
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) (err error) {
	if err := r.disk(); err != nil {
		return err
	}
	if r.cloud, err = startCloud(ctx, r.cfg); err != nil {
		return err
	}
	if err := r.identity(ctx); err != nil {
		return err
	}
	if !r.cfg.TPM {
		return nil
	}
	state := r.path("tpm")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	r.tpm, err = qemu.StartTPM(ctx, qemu.ARM64, state)
	return err
}

func (r *Rig) path(name string) string { return filepath.Join(r.cfg.Dir, name) }

// Disk is the path of the board's disk.
func (r *Rig) Disk() string { return r.path("disk.img") }

// disk copies the image's disk, unless there is one of an earlier time.
func (r *Rig) disk() error {
	if _, err := os.Stat(r.Disk()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return CopySparse(r.Disk(), filepath.Join(r.cfg.Image, "disk.img"))
}

// identity issues a certificate and writes it into the disk.
func (r *Rig) identity(ctx context.Context) error {
	certs := r.path("identity")
	if err := r.cloud.issue(ctx, certs, r.cfg.Vehicle, r.cfg.Device); err != nil {
		return err
	}
	files := map[string][]byte{
		"endpoint": []byte(r.cloud.guest(r.cloud.ports.MQTT) + "\n"),
		"download": []byte(r.cloud.guest(r.cloud.ports.Download) + "\n"),
	}
	for name, file := range map[string]string{"device.crt": r.cfg.Device + ".crt", "device.key": r.cfg.Device + ".key", "ca.crt": "ca.crt"} {
		data, err := os.ReadFile(filepath.Join(certs, file))
		if err != nil {
			return err
		}
		files[name] = data
	}
	return image.WriteIdentity(r.Disk(), files)
}

// PowerOn starts the board. It runs until PowerCut or Close, also across restarts.
func (r *Rig) PowerOn(ctx context.Context) error {
	if r.machine != nil {
		return errors.New("rig: the board is on")
	}
	cfg := qemu.Config{
		Arch: qemu.ARM64, Reboots: true, Network: true, Console: r.cfg.Console, TPM: r.tpm,
		BIOS: filepath.Join(r.cfg.Image, "u-boot.bin"), DTB: filepath.Join(r.cfg.Image, "control.dtb"),
		Drives: []qemu.Drive{{Path: r.Disk()}}, Channels: []string{cable},
		Args: []string{"-device", "i6300esb"},
	}
	machine, err := qemu.Start(ctx, cfg)
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	r.machine = machine
	return nil
}

// PowerCut ends the board at once.
func (r *Rig) PowerCut() {
	if r.machine != nil {
		r.machine.Close()
		r.machine = nil
	}
}

// Machine is the board's machine, nil while it is off.
func (r *Rig) Machine() *qemu.Machine { return r.machine }

// WaitFor waits until the board's console prints text.
func (r *Rig) WaitFor(ctx context.Context, text string) error { return r.machine.WaitFor(ctx, text) }

// Ports are the cloud's addresses on the host.
func (r *Rig) Ports() Ports { return r.cloud.ports }

// Overwrite writes bytes into a partition of the board's disk.
func (r *Rig) Overwrite(part string, offset int64, data []byte) error {
	start, size, err := image.FindPartition(r.Disk(), part)
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	if offset+int64(len(data)) > size {
		return fmt.Errorf("rig: partition %s has %d bytes", part, size)
	}
	f, err := os.OpenFile(r.Disk(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, start+offset); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	return f.Close()
}

// Close ends everything; the folder stays.
func (r *Rig) Close() error {
	r.PowerCut()
	var errs []error
	if r.tpm != nil {
		errs = append(errs, r.tpm.Close())
	}
	if r.cloud != nil {
		errs = append(errs, r.cloud.stop())
	}
	return errors.Join(errs...)
}

// CopySparse copies a file and leaves its zeros unwritten.
func CopySparse(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	buf, zero := make([]byte, 64<<10), strings.Repeat("\x00", 64<<10)
	at := int64(0)
	for {
		n, err := io.ReadFull(in, buf)
		if string(buf[:n]) != zero[:n] {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := out.Truncate(at); err != nil {
		return err
	}
	return out.Close()
}
