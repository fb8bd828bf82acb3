// Package tpm talks to a TPM 2.0 through the kernel's resource manager, with
// go-tpm's direct API.
//
// It is a beginning: it opens the device, and its test makes a key and signs
// on a real kernel. The keystore.Signer on it does not exist yet.
//
// The test runs in a virtual machine with a TPM (make test-vm), or against the
// device that the environment variable TELLTALE_TPM names; it leaves nothing behind there.
package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Device is where Linux shows the TPM to many users at once: it gives each its
// own transient objects and sessions and flushes them when the device is closed.
const Device = "/dev/tpmrm0"

// ErrNoTPM is wrapped by Open when the device does not exist.
var ErrNoTPM = errors.New("no TPM 2.0")

// Open opens a TPM device. The caller must close it. Commands may be sent by
// any goroutine, one at a time; a sequence of them needs a lock of the caller.
func Open(path string) (transport.TPMCloser, error) {
	t, err := open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("tpm: %s: %w: expected a kernel with a driver for the chip", path, ErrNoTPM)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("tpm: %w: expected to be in the device's group, tss on most systems", err)
	case err != nil:
		return nil, fmt.Errorf("tpm: %w", err)
	}
	return &Retrier{TPM: t}, nil
}

// A busy TPM is asked again, after waits that double from firstWait.
const (
	firstWait = 10 * time.Millisecond
	tries     = 8
)

// Retrier repeats commands that a busy TPM answers with TPM_RC_RETRY (TPM 2.0
// part 2, clause 6.6.3): it did not begin them.
type Retrier struct{ TPM transport.TPMCloser }

// Send implements transport.TPM. A TPM that stays busy gives its last answer.
func (r *Retrier) Send(command []byte) ([]byte, error) {
	for try, wait := 1, firstWait; ; try, wait = try+1, 2*wait {
		response, err := r.TPM.Send(command)
		if err != nil || try == tries || code(response) != tpm2.TPMRCRetry {
			return response, err
		}
		time.Sleep(wait)
	}
}

// Close implements io.Closer.
func (r *Retrier) Close() error { return r.TPM.Close() }

// code is the response code, in bytes 6 to 9 of a response.
func code(response []byte) tpm2.TPMRC {
	if len(response) < 10 {
		return tpm2.TPMRCSuccess
	}
	return tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
}
