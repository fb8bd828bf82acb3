//go:build linux

package vport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A TPM whose driver the kernel lacks is put behind its vtpm proxy: the kernel
// asks a process, and the process passes the question on.

// From <linux/vtpm_proxy.h>.
const (
	vtpmNewDevice = 0xc014a100 // _IOWR(0xa1, 0, struct vtpm_proxy_new_dev)
	vtpmTPM2      = 1          // VTPM_PROXY_FLAG_TPM2
	setLocality   = 0x20001000 // TPM2_CC_SET_LOCALITY, a question to the process itself
)

// vtpmDevice is struct vtpm_proxy_new_dev.
type vtpmDevice struct{ flags, number, fd, major, minor uint32 }

const (
	tpmHeader = 10   // tag, size, code: TPM 2.0 part 1, clause 18
	tpmMax    = 4096 // the largest command or response of any TPM 2.0 in use
	tpmWait   = 60 * time.Second
)

// StartTPM makes /dev/tpm0 and /dev/tpmrm0, answered by the port's other end.
func StartTPM(portName string) error {
	port, err := Open(portName, tpmWait)
	if err != nil {
		return err
	}
	control, err := os.OpenFile("/dev/vtpmx", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	device := vtpmDevice{flags: vtpmTPM2}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), vtpmNewDevice, uintptr(unsafe.Pointer(&device))); errno != 0 {
		return fmt.Errorf("make a device: %w", errno)
	}
	ended := make(chan error, 1)
	go func() { ended <- relay(os.NewFile(uintptr(device.fd), "vtpm"), port) }()
	for end := time.Now().Add(tpmWait); time.Now().Before(end); time.Sleep(poll) {
		select {
		case err := <-ended:
			return err
		default:
		}
		if _, err := os.Stat("/dev/tpmrm0"); err == nil {
			return nil
		}
	}
	return errors.New("expected /dev/tpmrm0: the kernel could not start the TPM")
}

// relay passes commands from the kernel to the TPM and responses back.
func relay(kernel, tpm io.ReadWriter) error {
	command := make([]byte, tpmMax)
	for {
		n, err := kernel.Read(command) // one whole command
		if err != nil {
			return fmt.Errorf("read a command: %w", err)
		}
		response, err := answer(tpm, command[:n])
		if err != nil {
			return err
		}
		if _, err := kernel.Write(response); err != nil {
			return fmt.Errorf("write a response: %w", err)
		}
	}
}

// answer asks the TPM, whose stream has no other borders than the sizes in the headers.
func answer(tpm io.ReadWriter, command []byte) ([]byte, error) {
	if len(command) < tpmHeader {
		return nil, fmt.Errorf("command of %d bytes: expected at least %d", len(command), tpmHeader)
	}
	if binary.BigEndian.Uint32(command[6:]) == setLocality {
		return []byte{0x80, 0x01, 0, 0, 0, tpmHeader, 0, 0, 0, 0}, nil // TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS
	}
	if _, err := tpm.Write(command); err != nil {
		return nil, fmt.Errorf("ask the TPM: %w", err)
	}
	response := make([]byte, tpmMax)
	if _, err := io.ReadFull(tpm, response[:tpmHeader]); err != nil {
		return nil, fmt.Errorf("the TPM's answer: %w", err)
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < tpmHeader || size > tpmMax {
		return nil, fmt.Errorf("the TPM's answer: size %d: expected %d to %d", size, tpmHeader, tpmMax)
	}
	if _, err := io.ReadFull(tpm, response[tpmHeader:size]); err != nil {
		return nil, fmt.Errorf("the TPM's answer: %w", err)
	}
	return response[:size], nil
}
