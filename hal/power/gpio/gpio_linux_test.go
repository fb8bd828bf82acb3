package gpio_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/gpio"
	"telltale.dev/hal/power/powertest"
)

// TestLayout: the structures are as the kernel's headers have them, on every word size.
func TestLayout(t *testing.T) {
	// sizeof struct gpio_v2_line_request is in its ioctl number: 0xc250b407.
	if gpio.RequestSize != 0x250 || gpio.ValuesSize != 16 || gpio.EventSize != 48 {
		t.Errorf("got sizes %d, %d, %d", gpio.RequestSize, gpio.ValuesSize, gpio.EventSize)
	}
	flags, lines, attr := gpio.Request(gpio.Config{Ignition: 3, Shutdown: 4, Notice: time.Second, ActiveLow: true, Debounce: 50 * time.Millisecond})
	if flags != 0b110110 || lines != 2 || attr[0] != 3 || uint32(attr[1]) != 50_000 || attr[2] != 0b11 {
		t.Errorf("got flags %b, %d lines, attribute %v", flags, lines, attr)
	}
}

// TestSupply: events come through a pipe, as from the kernel's line request.
func TestSupply(t *testing.T) {
	powertest.Run(t, true, func(t *testing.T) (power.Supply, func(power.Ignition, time.Duration)) {
		events, kernel, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { events.Close(); kernel.Close() })
		var bits atomic.Uint64
		s := gpio.NewSupply(gpio.Config{Notice: 30 * time.Second}, events, func() (uint64, error) { return bits.Load(), nil })
		return s, func(i power.Ignition, notice time.Duration) {
			v := uint64(0)
			if i == power.On {
				v = 1
			}
			if notice > 0 {
				v |= 2
			}
			bits.Store(v)
			if _, err := kernel.Write(make([]byte, gpio.EventSize)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestKernel reads lines of a real chip: QEMU's ARM machines have one whose lines are low.
func TestKernel(t *testing.T) {
	const chip = "/dev/gpiochip0"
	if os.Getenv("TELLTALE_VM") != "1" || runtime.GOARCH == "amd64" {
		t.Skip("no GPIO chip whose lines are known: make test-vm has one, for ARM")
	}
	for _, test := range []struct {
		cfg  gpio.Config
		want power.State
	}{
		{gpio.Config{Chip: chip, Ignition: 0}, power.State{Ignition: power.Off}},
		{gpio.Config{Chip: chip, Ignition: 0, Shutdown: 1, Notice: time.Minute}, power.State{Ignition: power.Off}},
		{gpio.Config{Chip: chip, Ignition: 0, ActiveLow: true, Debounce: 5 * time.Millisecond}, power.State{Ignition: power.On}},
		{gpio.Config{Chip: chip, Ignition: 0, Shutdown: 1, Notice: time.Minute, ActiveLow: true}, power.State{Ignition: power.On, Ends: time.Now().Add(time.Minute)}},
	} {
		s, err := gpio.Open(test.cfg)
		if err != nil {
			t.Fatalf("%+v: %v", test.cfg, err)
		}
		got, err := s.Next(t.Context(), power.State{})
		if err != nil || got.Ignition != test.want.Ignition || got.Ends.Sub(test.want.Ends).Abs() > 5*time.Second {
			t.Errorf("%+v: got %+v, %v, want %+v", test.cfg, got, err, test.want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if next, err := s.Next(ctx, got); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: got %+v, %v though nothing changed", test.cfg, next, err)
		}
		cancel()
		if _, err := gpio.Open(test.cfg); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("%+v: opened twice: got %v, want that it is busy", test.cfg, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%+v: %v", test.cfg, err)
		}
	}
	if _, err := gpio.Open(gpio.Config{Chip: chip, Ignition: 1000}); err == nil || !strings.Contains(err.Error(), "line 1000 of "+chip) {
		t.Errorf("no such line: got %v", err)
	}
}

// TestKernelLine reads a line of a real driver: the power key of QEMU's virt
// board is on line 3 of its PL061, and is pressed by a command to QEMU.
func TestKernelLine(t *testing.T) {
	const chip, key = "/dev/gpiochip0", 3
	port := os.Getenv("TELLTALE_VM_MONITOR")
	if port == "" || runtime.GOARCH == "amd64" {
		t.Skip("no QEMU virt board: make test-vm brings one")
	}
	monitor, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	// A kernel with a driver for keys lets go of the line.
	err = os.WriteFile("/sys/bus/platform/drivers/gpio-keys/unbind", []byte("gpio-keys"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	s, err := gpio.Open(gpio.Config{Chip: chip, Ignition: key})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	state := power.State{}
	for i, want := range []power.Ignition{power.Off, power.On, power.Off} {
		if state, err = s.Next(ctx, state); err != nil || state.Ignition != want {
			t.Fatalf("state %d: got %v, %v, want %v", i, state.Ignition, err, want)
		}
		if i == 0 {
			if _, err := monitor.WriteString("system_powerdown\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := gpio.Open(gpio.Config{Chip: filepath.Join(t.TempDir(), "gpiochip9")}); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("missing: got %v", err)
	}
	if _, err := gpio.Open(gpio.Config{Chip: "/dev/null"}); err == nil || !strings.Contains(err.Error(), "line 0 of /dev/null") {
		t.Errorf("no chip: got %v", err)
	}
	locked := filepath.Join(t.TempDir(), "gpiochip9")
	if err := os.WriteFile(locked, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(locked); errors.Is(err, fs.ErrPermission) { // not so for root
		if _, err := gpio.Open(gpio.Config{Chip: locked}); !errors.Is(err, power.ErrDenied) {
			t.Errorf("locked: got %v, want ErrDenied", err)
		}
	}
}
