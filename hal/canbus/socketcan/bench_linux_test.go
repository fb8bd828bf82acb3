package socketcan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	einride "go.einride.tech/can/pkg/socketcan"
	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

// The load of BenchmarkReaders.
const (
	offerRate = 40_000 // frames/s
	offerTime = 4 * time.Second
	offerSome = 40 // frames a system call, one a millisecond: a guest in software emulation cannot send them one by one
	// offerEnv makes the test binary a process that offers frames: its CPU time must not count as the reader's.
	offerEnv = "TELLTALE_TEST_OFFER"
)

// offer sends frames at an even rate and prints how many it sent.
func offer(name string) error {
	bus, err := socketcan.Open(context.Background(), socketcan.Options{Interface: name, Buffer: 16 << 10})
	if err != nil {
		return err
	}
	defer bus.Close()
	sender, sent := bus.(*socketcan.Bus), 0
	if err := sender.SetFilters([]can.Filter{}); err != nil {
		return err
	}
	frames := canbustest.Numbered(0, offerSome)
	for start := time.Now(); time.Since(start) < offerTime; {
		if due := int(time.Since(start) * offerRate / time.Second); due-sent < offerSome {
			continue
		}
		if err := sender.Send(context.Background(), frames); err != nil {
			return err
		}
		sent += offerSome
	}
	return json.NewEncoder(os.Stdout).Encode(sent)
}

// BenchmarkReaders compares ways to read a bus that is offered 40 thousand
// frames/s by another process for 4 s: ours, one read a frame with the same
// buffer, and the receiver of go.einride.tech/can as it comes.
func BenchmarkReaders(b *testing.B) {
	readers := []struct {
		name string
		read func(b *testing.B, name string, got *atomic.Int64) (stop func(), counted func() uint64)
	}{
		{"telltale", readOurs},
		{"read a frame", readOne},
		{"einride", readEinride},
	}
	for _, r := range readers {
		b.Run(r.name, func(b *testing.B) {
			name := vcan(b)
			var sent, received, counted, lost float64
			var cpu time.Duration
			for range b.N {
				var got atomic.Int64
				stop, dropped := r.read(b, name, &got)
				before := ownCPU(b)
				n := offered(b, name)
				settle(&got)
				cpu += ownCPU(b) - before
				sent, received, counted = sent+float64(n), received+float64(got.Load()), counted+float64(dropped())
				lost += float64(n) - float64(got.Load())
				stop()
			}
			seconds := offerTime.Seconds() * float64(b.N)
			b.ReportMetric(sent/seconds, "offered/s")
			b.ReportMetric(received/seconds, "received/s")
			b.ReportMetric(lost, "lost")
			b.ReportMetric(lost-counted, "lost-uncounted")
			b.ReportMetric(float64(cpu.Microseconds())/received, "µs-CPU/frame")
			b.ReportMetric(100*cpu.Seconds()/seconds, "%CPU")
			b.ReportMetric(0, "ns/op")
			if r.name == "telltale" && lost != counted {
				b.Errorf("%v frames lost, but %v counted", lost, counted)
			}
		})
	}
}

// offered runs the other process and gives the number of frames it sent.
func offered(b *testing.B, name string) (n int) {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), offerEnv+"="+name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// settle waits until no more frames come.
func settle(got *atomic.Int64) {
	for last := int64(-1); last != got.Load(); time.Sleep(200 * time.Millisecond) {
		last = got.Load()
	}
}

func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func readOurs(b *testing.B, name string, got *atomic.Int64) (func(), func() uint64) {
	bus, err := socketcan.Open(b.Context(), socketcan.Options{Interface: name})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		frames := canbustest.Numbered(0, 256)
		for {
			n, err := bus.Receive(ctx, frames)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return func() { cancel(); <-ended; bus.Close() }, func() uint64 { return bus.Stats().Dropped }
}

// readOne is the plain way: a read a frame, through Go's poller, with our buffer.
func readOne(b *testing.B, name string, got *atomic.Int64) (func(), func() uint64) {
	fd, err := unix.Socket(unix.AF_CAN, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.CAN_RAW)
	if err == nil {
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketcan.DefaultBuffer),
			unix.Bind(fd, &unix.SockaddrCAN{Ifindex: socketcan.Index(name)}))
	}
	if err != nil {
		b.Fatal(err)
	}
	return readFile(os.NewFile(uintptr(fd), "can"), got, func(r io.Reader) func() bool {
		var frame [72]byte
		return func() bool {
			_, err := r.Read(frame[:])
			return err == nil
		}
	})
}

func readEinride(b *testing.B, name string, got *atomic.Int64) (func(), func() uint64) {
	conn, err := einride.DialContext(b.Context(), "can", name)
	if err != nil {
		b.Fatal(err)
	}
	return readFile(conn, got, func(io.Reader) func() bool {
		r := einride.NewReceiver(conn)
		return func() bool {
			ok := r.Receive()
			_ = r.Frame()
			return ok
		}
	})
}

func readFile(f io.ReadCloser, got *atomic.Int64, reader func(io.Reader) func() bool) (func(), func() uint64) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for next := reader(f); next(); {
			got.Add(1)
		}
	}()
	return func() { f.Close(); <-ended }, func() uint64 { return 0 }
}

// beSender is for TestMain: the test binary offers frames when it is told to.
func beSender() bool {
	name := os.Getenv(offerEnv)
	if name == "" {
		return false
	}
	if err := offer(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}
