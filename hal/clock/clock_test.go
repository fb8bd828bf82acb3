package clock_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/hal/clock"
)

// TestKernel: what the kernel and the hardware clock say together.
func TestKernel(t *testing.T) {
	rtc := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "since_epoch"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	at := func(off time.Duration) string {
		return rtc(strconv.FormatInt(time.Now().Add(off).Unix(), 10) + "\n")
	}
	for _, c := range []struct {
		name   string
		synced bool
		most   time.Duration
		err    error
		rtc    string
		want   clock.Quality
	}{
		{"disciplined", true, 500 * time.Millisecond, nil, t.TempDir(), clock.Network},
		{"disciplined at the bound", true, clock.MaxError, nil, t.TempDir(), clock.Network},
		{"not corrected for long", true, clock.MaxError + 1, nil, t.TempDir(), clock.Unset},
		{"not corrected for long, hardware clock", true, 16 * time.Second, nil, at(0), clock.Hardware},
		{"never disciplined", false, 16 * time.Second, nil, t.TempDir(), clock.Unset},
		{"hardware clock agrees", false, 16 * time.Second, nil, at(-time.Minute), clock.Hardware},
		{"hardware clock differs", false, 16 * time.Second, nil, at(-time.Hour), clock.Unset},
		{"hardware clock of 1970", false, 0, nil, rtc("7\n"), clock.Unset},
		{"hardware clock that is none", false, 0, nil, rtc("soon"), clock.Unset},
		{"nobody to ask", false, 0, errors.New("no"), at(0), clock.Unknown},
	} {
		k := clock.Kernel{RTC: c.rtc, Sync: func() (bool, time.Duration, error) { return c.synced, c.most, c.err }}
		if got := k.Quality(); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// TestBothClocksOfThePast: a clock that was set by a dead hardware clock agrees with it; that says nothing.
func TestBothClocksOfThePast(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // whose time begins with the year 2000
		if err := os.WriteFile(filepath.Join(dir, "since_epoch"), []byte(strconv.FormatInt(time.Now().Unix(), 10)), 0o600); err != nil {
			t.Fatal(err)
		}
		k := clock.Kernel{RTC: dir, Sync: func() (bool, time.Duration, error) { return false, 0, nil }}
		if got := k.Quality(); got != clock.Unset {
			t.Errorf("got %d, want %d", got, clock.Unset)
		}
	})
}

// TestKernelKeeps: the kernel is not asked for each batch.
func TestKernelKeeps(t *testing.T) {
	asked := 0
	k := clock.Kernel{RTC: t.TempDir(), Sync: func() (bool, time.Duration, error) { asked++; return true, 0, nil }}
	for range 10 {
		k.Quality()
	}
	if asked != 1 {
		t.Errorf("got %d questions for 10 answers, want 1", asked)
	}
}
