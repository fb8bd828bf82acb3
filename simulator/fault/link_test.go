package fault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"telltale.dev/simulator/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a link to an echo server and ends both with the test.
func start(t *testing.T) *fault.Link {
	t.Helper()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	link, err := fault.Listen(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- link.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		echo.Close()
	})
	return link
}

func dial(t *testing.T, link *fault.Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", link.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoes says whether what is written comes back in time.
func echoes(c net.Conn, within time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(within))
	want := []byte("ping")
	if _, err := c.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("other bytes came back")
	}
	return nil
}

func TestUp(t *testing.T) {
	link := start(t)
	c := dial(t, link)
	if err := echoes(c, time.Second); err != nil {
		t.Fatal(err)
	}
	up, down := link.Bytes()
	if up != 4 || down != 4 {
		t.Errorf("got %d bytes up, %d down, want 4 and 4", up, down)
	}
}

func TestHalfOpenIsSilentAndStaysSo(t *testing.T) {
	link := start(t)
	old := dial(t, link)
	if err := echoes(old, time.Second); err != nil {
		t.Fatal(err)
	}
	link.Set(fault.HalfOpen)
	if err := echoes(old, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half-open: got %v, want a time-out without FIN or RST", err)
	}
	fresh := dial(t, link)
	if err := echoes(fresh, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("new connection: got %v, want a time-out", err)
	}
	link.Set(fault.Up)
	if err := echoes(old, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("old connection after the tunnel: got %v, want it dead", err)
	}
	if err := echoes(dial(t, link), time.Second); err != nil {
		t.Errorf("new connection after the tunnel: %v", err)
	}
}

func TestCut(t *testing.T) {
	link := start(t)
	c := dial(t, link)
	if err := echoes(c, time.Second); err != nil {
		t.Fatal(err)
	}
	link.Set(fault.Cut)
	if err := echoes(c, time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cut: got %v, want a reset", err)
	}
	// The reset may come before Dial has returned.
	again, err := net.Dial("tcp", link.Addr())
	if err == nil {
		defer func() { _ = again.Close() }()
		err = echoes(again, time.Second)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("new connection: got %v, want a reset", err)
	}
}

func TestDelayAndBandwidth(t *testing.T) {
	link := start(t)
	link.Shape(fault.Profile{Delay: 40 * time.Millisecond, Up: 100 << 10})
	c := dial(t, link)
	began := time.Now()
	if err := echoes(c, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("round trip took %v, want at least twice the delay of 40 ms", took)
	}
	began = time.Now()
	data := make([]byte, 50<<10)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, data); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("50 KiB took %v, want about 0.5 s at 100 KiB/s", took)
	}
}
