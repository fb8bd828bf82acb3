package sysfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/sysfs"
)

// kernel makes a folder with a file of the kernel's.
func kernel(t *testing.T, file, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAlarm(t *testing.T) {
	dir := kernel(t, "wakealarm", "")
	alarm := sysfs.Alarm{Dir: dir}
	at := time.Now().Add(time.Hour)
	if err := alarm.Arm(power.Wake{At: at}); err != nil {
		t.Fatal(err)
	}
	// A plain file keeps what a shorter write leaves; "0" comes first, then the time over it.
	set, err := strconv.ParseInt(read(t, dir, "wakealarm"), 10, 64)
	if err != nil || set < at.Unix() || set > at.Unix()+1 {
		t.Errorf("got %d, %v, want %d", set, err, at.Unix())
	}
	// A clock that is off, or keeps local time, is asked for its own time.
	if err := os.WriteFile(filepath.Join(dir, "since_epoch"), []byte("1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := alarm.Arm(power.Wake{At: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "wakealarm"); !strings.HasPrefix(got, "460") {
		t.Errorf("clock that says 1000: got %s, want 4600", got)
	}
	dir = kernel(t, "wakealarm", "")
	if err := (sysfs.Alarm{Dir: dir}).Arm(power.Wake{}); err != nil || read(t, dir, "wakealarm") != "0" {
		t.Errorf("disarm: got %v, %q, want 0", err, read(t, dir, "wakealarm"))
	}
	if err := alarm.Arm(power.Wake{At: time.Now().Add(-time.Minute)}); err == nil || !strings.Contains(err.Error(), "expected a time to come") {
		t.Errorf("past: got %v", err)
	}
	if err := alarm.Arm(power.Wake{Modem: true}); !errors.Is(err, power.ErrUnsupported) {
		t.Errorf("modem: got %v, want ErrUnsupported", err)
	}
	if err := (sysfs.Alarm{Dir: t.TempDir()}).Arm(power.Wake{At: at}); !errors.Is(err, power.ErrUnsupported) {
		t.Errorf("no clock: got %v, want ErrUnsupported", err)
	}
}

func TestMachine(t *testing.T) {
	for _, test := range []struct{ can, mode, want string }{
		{"freeze mem disk\n", "", "mem"},
		{"freeze\n", "", "freeze"},
		{"freeze mem disk\n", "disk", "disk"},
	} {
		dir := kernel(t, "state", test.can)
		if err := (sysfs.Machine{Dir: dir, Mode: test.mode}).Suspend(); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		if got := read(t, dir, "state"); !strings.HasPrefix(got, test.want) {
			t.Errorf("%+v: wrote %q", test, got)
		}
	}
	dir := kernel(t, "state", "freeze\n")
	if err := (sysfs.Machine{Dir: dir, Mode: "mem"}).Suspend(); !errors.Is(err, power.ErrUnsupported) || read(t, dir, "state") != "freeze\n" {
		t.Errorf("mode: got %v, want ErrUnsupported and nothing written", err)
	}
	if err := (sysfs.Machine{Dir: t.TempDir()}).Suspend(); !errors.Is(err, power.ErrUnsupported) {
		t.Errorf("no file: got %v, want ErrUnsupported", err)
	}
}
