package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// TPMChannel is the virtio-serial port behind which a guest without a TIS
// driver finds the TPM: whole commands and responses, as in the TPM 2.0
// specification, one behind the other.
const TPMChannel = "telltale.tpm"

// tpmStart is how long swtpm may take to listen.
const tpmStart = 10 * time.Second

// TPM is a running swtpm, a TPM 2.0 in software.
type TPM struct {
	dir  string // of the sockets
	cmd  *exec.Cmd
	done chan struct{}
	once sync.Once
}

// StartTPM starts swtpm with its state in a folder that must exist. A Machine
// whose Config names it shows it to the guest: on amd64 as a TIS device, on
// the others by TPMChannel. Close it after the Machine.
func StartTPM(ctx context.Context, arch Arch, state string) (*TPM, error) {
	program, err := exec.LookPath("swtpm")
	if err != nil {
		return nil, fmt.Errorf("qemu: %w: swtpm (Debian's package swtpm)", ErrMissing)
	}
	// swtpm listens before it looks at its state; who waits for the socket misses its complaint.
	if info, err := os.Stat(state); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("qemu: swtpm: state %s: expected a folder that exists", filepath.Base(state))
	}
	dir, err := os.MkdirTemp("/tmp", "tpm-") // a socket's path is at most 107 bytes long
	if err != nil {
		return nil, fmt.Errorf("qemu: swtpm: %w", err)
	}
	t := &TPM{dir: dir, done: make(chan struct{})}
	args := []string{"socket", "--tpm2", "--tpmstate", "dir=" + state}
	if hasTIS(arch) {
		args = append(args, "--ctrl", "type=unixio,path="+t.socket())
	} else {
		args = append(args, "--server", "type=unixio,path="+t.socket(), "--flags", "not-need-init")
	}
	var complaint bytes.Buffer
	t.cmd = exec.CommandContext(ctx, program, args...)
	t.cmd.Stdout, t.cmd.Stderr = &complaint, &complaint
	dieWithParent(t.cmd)
	if err := t.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("qemu: swtpm: %w", err)
	}
	go func() {
		defer close(t.done)
		t.cmd.Wait()
	}()
	if err := t.listening(ctx, &complaint); err != nil {
		t.Close()
		return nil, fmt.Errorf("qemu: swtpm: %w", err)
	}
	return t, nil
}

// listening waits for the socket.
func (t *TPM) listening(ctx context.Context, complaint *bytes.Buffer) error {
	ctx, cancel := context.WithTimeout(ctx, tpmStart)
	defer cancel()
	for {
		if _, err := os.Stat(t.socket()); err == nil {
			return nil
		}
		select {
		case <-t.done:
			return fmt.Errorf("ended: %s", bytes.TrimSpace(complaint.Bytes()))
		case <-ctx.Done():
			return errors.New("expected it to listen")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (t *TPM) socket() string { return filepath.Join(t.dir, "s") }

// Close ends swtpm.
func (t *TPM) Close() error {
	t.once.Do(func() {
		t.cmd.Process.Kill() // an error says that it is gone already
		<-t.done
		os.RemoveAll(t.dir)
	})
	return nil
}

// hasTIS says whether Debian's kernel of an architecture can talk to a TIS device.
func hasTIS(arch Arch) bool { return arch == AMD64 }

// TPMPort is the virtio-serial port that the guest puts its TPM behind, or ""
// where the kernel finds the TPM by itself.
func TPMPort(arch Arch) string {
	if hasTIS(arch) {
		return ""
	}
	return TPMChannel
}
