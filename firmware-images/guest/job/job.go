//go:build linux

// Package job does what telltale-vm asks of its guest, as the first process of the machine: it
// loads the kernel modules, runs the program of the job, and tells its output and exit code.
package job

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/firmware-images/guest"
	"telltale.dev/firmware-images/vport"
)

const (
	portWait = 20 * time.Second // how long a virtio port may take to appear
	pipeWait = 5 * time.Second  // for grandchildren that hold the program's output open
	killed   = 128              // exit code of a program that a signal killed, plus its number
	piece    = 64 << 10         // of a file that goes to the host
)

// Run does the job. Its error is for the console: the host could not be told.
func Run() error {
	if err := mounts(); err != nil {
		return err
	}
	job, err := load()
	if err != nil {
		return err
	}
	now := unix.NsecToTimeval(job.Now.UnixNano())
	if err := unix.Settimeofday(&now); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	if err := insertModules(job.Modules[:job.Early]); err != nil {
		return err
	}
	port, err := vport.Open(guest.Channel, portWait)
	if err != nil {
		return err
	}
	out := guest.NewWriter(port)
	if err := out.Write(guest.Hello, nil); err != nil {
		return err
	}
	if err := insertModules(job.Modules[job.Early:]); err != nil {
		return out.Write(guest.Broken, []byte(err.Error()))
	}
	code, err := execute(job, out)
	if err != nil {
		return out.Write(guest.Broken, []byte(err.Error()))
	}
	for i := range job.Outputs {
		if err := sendFile(out, i); err != nil {
			return out.Write(guest.Broken, []byte(err.Error()))
		}
	}
	return out.Write(guest.Exit, binary.BigEndian.AppendUint32(nil, uint32(code)))
}

func load() (guest.Job, error) {
	var job guest.Job
	text, err := os.ReadFile("/" + guest.JobPath)
	if err != nil {
		return job, err
	}
	if err := json.Unmarshal(text, &job); err != nil {
		return job, fmt.Errorf("%s: %w", guest.JobPath, err)
	}
	return job, nil
}

// insertModules loads the kernel modules and frees their memory.
func insertModules(modules []guest.Module) error {
	for _, m := range modules {
		path := filepath.Join("/", guest.ModuleDir, m.Name)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := unix.InitModule(data, m.Params); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", m.Name, err)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// execute runs the program and gives its exit code.
func execute(job guest.Job, out *guest.Writer) (int, error) {
	if err := loopback(); err != nil {
		return 0, err
	}
	if job.TPM != "" {
		if err := vport.StartTPM(job.TPM); err != nil {
			return 0, fmt.Errorf("tpm: %w", err)
		}
	}
	if err := os.MkdirAll("/"+guest.OutputDir, 0o755); err != nil {
		return 0, err
	}
	monitor, err := vport.Open(guest.Monitor, portWait)
	if err != nil {
		return 0, err
	}
	monitor.Close() // a port has one user at a time
	cmd := exec.Command("/"+guest.Program, job.Args...)
	cmd.Dir = filepath.Join("/", guest.Root, job.Dir)
	cmd.Env = append([]string{"PATH=/bin", "HOME=/root", "TMPDIR=/tmp", "PWD=" + cmd.Dir,
		guest.Marker + "=1", guest.MonitorPath + "=" + monitor.Name()}, job.Env...)
	cmd.Stdout, cmd.Stderr = stream{out, guest.Stdout}, stream{out, guest.Stderr}
	cmd.WaitDelay = pipeWait
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			fmt.Println("telltale-vm-init: the program was killed:", status.Signal())
			return killed + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay):
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}

// sendFile sends a file that the program may have written.
func sendFile(out *guest.Writer, number int) error {
	f, err := os.Open(filepath.Join("/", guest.OutputDir, strconv.Itoa(number)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for buf := make([]byte, piece); ; {
		n, err := f.Read(buf)
		if n > 0 {
			head := binary.BigEndian.AppendUint32(nil, uint32(number))
			if err := out.Write(guest.Output, append(head, buf[:n]...)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// stream turns writes into frames of one kind.
type stream struct {
	out  *guest.Writer
	kind guest.Kind
}

func (s stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), piece)
		if err := s.out.Write(s.kind, rest[:n]); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
