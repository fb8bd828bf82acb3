package check_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/check"
	"telltale.dev/hal/keystore"
	"telltale.dev/hal/keystore/keystoretest"
	"telltale.dev/hal/slots"
)

// store is a key store that says what a test wants.
type store struct {
	*ecdsa.PrivateKey
	chain      []*x509.Certificate
	protection string
}

func (s store) Chain() []*x509.Certificate { return s.chain }
func (s store) Protection() string         { return s.protection }

const day = 24 * time.Hour

func TestIdentity(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, foreign := keystoretest.NewCA(t, "Ours"), keystoretest.NewCA(t, "Foreign")
	now := time.Now()
	own := func(ca *keystoretest.CA, urn string, from, until time.Duration) keystore.Signer {
		return store{key, []*x509.Certificate{ca.Device(t, urn, key.Public(), now.Add(from), now.Add(until))}, "TPM 2.0"}
	}
	const urn = "urn:dev:veh-1:tcu-1"
	for _, test := range []struct {
		name     string
		store    keystore.Signer
		err      error
		readable bool
		area     string // the line that counts; the others are OK
		level    check.Level
		text     string
		hint     string
	}{
		{"well", own(ca, urn, -day, 300*day), nil, false, "certificate", check.OK, "299 days left", ""},
		{"short-lived, fresh", own(ca, urn, -day, 6*day), nil, false, "certificate", check.OK, "5 days left", ""},
		{"ends soon", own(ca, urn, -340*day, 20*day), nil, false, "certificate", check.Warn, "19 days left", "renew it"},
		{"ended", own(ca, urn, -340*day, -day), nil, false, "certificate", check.Fail, "ended on", "renew it"},
		{"of tomorrow", own(ca, urn, day, 300*day), nil, false, "certificate", check.Fail, "the clock says", "is the clock right"},
		{"another authority", own(foreign, urn, -day, 300*day), nil, false, "issuer", check.Warn, `"Foreign", not the authority`, "authority of its own"},
		{"no device", own(ca, "urn:x:y", -day, 300*day), nil, false, "certificate", check.Fail, "urn", "authority issue it"},
		{"readable", own(ca, urn, -day, 300*day), nil, true, "key store", check.Warn, "others on this machine can read the key", "chmod 600"},
		{"no hardware", store{key, own(ca, urn, -day, 300*day).Chain(), keystore.NotHardwareProtected}, nil, false, "key store", check.Warn, "NOT-HARDWARE-PROTECTED", "development only"},
		{"missing", nil, fmt.Errorf("device.key: %w", fs.ErrNotExist), false, "key store", check.Fail, "device.key: file does not exist", "where the configuration says"},
		{"exposed", nil, fmt.Errorf("device.key: %w", keystore.ErrExposed), false, "key store", check.Fail, "device.key: others on this machine can read", "chmod 600 FILE"},
		{"not allowed", nil, fmt.Errorf("device.key: %w", fs.ErrPermission), false, "key store", check.Fail, "permission denied", "chgrp telltale"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := check.Identity(test.store, ca.Pool(), test.err, test.readable, now)
			found := false
			for _, l := range lines {
				if l.Area == test.area && l.Level == test.level && !found {
					found = true
					expect(t, l, test.area, test.level, test.text, test.hint)
				} else if l.Level != check.OK {
					t.Errorf("besides: %+v", l)
				}
			}
			if !found {
				t.Errorf("got %+v, want %s %s", lines, test.level, test.area)
			}
		})
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2027, 3, 4, 5, 6, 7, 0, time.UTC)
	rtc := func(at time.Time) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "since_epoch"), fmt.Appendln(nil, at.Unix()), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	yes := func() (bool, error) { return true, nil }
	for _, test := range []struct {
		name  string
		clock check.Clock
		level check.Level
		text  string
		hint  string
	}{
		{"well", check.Clock{RTC: rtc(now), Synchronised: yes, Now: now}, check.OK, "2027-03-04 05:06:07 UTC, hardware clock agrees, synchronised", ""},
		{"no hardware clock", check.Clock{RTC: t.TempDir(), Synchronised: yes, Now: now}, check.OK, "no hardware clock, synchronised", ""},
		{"1970", check.Clock{RTC: rtc(time.Unix(100, 0)), Synchronised: yes, Now: time.Unix(100, 0)}, check.Fail, "1970-01-01 00:01:40 UTC is before", "timedatectl"},
		{"hardware clock off", check.Clock{RTC: rtc(now.Add(-time.Hour)), Synchronised: yes, Now: now}, check.Warn, "the hardware clock says 2027-03-04 04:06:07", "hwclock"},
		{"not synchronised", check.Clock{RTC: rtc(now), Synchronised: func() (bool, error) { return false, nil }, Now: now}, check.Warn, "not synchronised", "timedatectl"},
		{"unknown", check.Clock{RTC: rtc(now), Synchronised: func() (bool, error) { return false, errors.New("no") }, Now: now}, check.Warn, "unknown whether synchronised: no", "timedatectl"},
	} {
		t.Run(test.name, func(t *testing.T) { expect(t, test.clock.Look(), "clock", test.level, test.text, test.hint) })
	}
	if l := (check.Clock{}).Look(); l.Level == check.Fail {
		t.Errorf("this machine: %+v", l)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	one := func(d check.Disk) check.Line {
		t.Helper()
		lines := d.Look()
		if len(lines) != 1 {
			t.Fatalf("got %d lines", len(lines))
		}
		return lines[0]
	}
	if l := one(check.Disk{Dir: dir, Wanted: 1 << 20}); l.Level == check.Fail || !strings.Contains(l.Text, "MiB free, fsync ") {
		t.Errorf("well: got %+v", l)
	}
	if l := one(check.Disk{Dir: filepath.Join(dir, "new")}); l.Level == check.Fail || !strings.HasPrefix(l.Text, "will be made at the first start; ") {
		t.Errorf("new: got %+v", l)
	}
	if l := one(check.Disk{Dir: dir, Wanted: 1 << 60}); l.Level != check.Warn || !strings.Contains(l.Text, "the buffer may want") && !strings.Contains(l.Text, "in memory") {
		t.Errorf("too small: got %+v", l)
	}
	expect(t, one(check.Disk{Dir: file}), "disk", check.Fail, "the data folder is a file", "set data to a folder")
	expect(t, one(check.Disk{Dir: filepath.Join(dir, "none", "new")}), "disk", check.Fail, "not writable: no such file or directory", "folder that the agent's user owns")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	// A file system that is mounted read-only, which everybody has.
	if err := os.WriteFile("/proc/sys/kernel/telltale", nil, 0o600); err == nil {
		t.Fatal("/proc is writable")
	}
	if l := one(check.Disk{Dir: "/proc/self"}); l.Level != check.Fail || !strings.Contains(l.Text, "not writable") {
		t.Errorf("read-only: got %+v", l)
	}
}

// twoSlots tells a status.
type twoSlots struct {
	slots.Slots
	status slots.Status
	err    error
}

func (s twoSlots) Status() (slots.Status, error) { return s.status, s.err }

func TestSlots(t *testing.T) {
	both := map[slots.Slot]int{slots.A: 3, slots.B: 3}
	order := []slots.Slot{slots.A, slots.B}
	for _, test := range []struct {
		name   string
		status slots.Status
		err    error
		level  check.Level
		text   string
		hint   string
	}{
		{"well", slots.Status{Booted: slots.A, Order: order, Left: both}, nil, check.OK, "runs A, A has 3 of 3 starts left, B has 3 of 3", ""},
		{"on trial", slots.Status{Booted: slots.A, Order: order, Left: both, Trial: true}, nil, check.Warn, "on trial", "healthy and connected"},
		{"damaged state", slots.Status{Booted: slots.A, Order: order, Left: both, Problem: "bad checksum"}, nil, check.Warn, "bad checksum", "slot confirm"},
		{"unknown", slots.Status{Order: order, Left: both}, nil, check.Fail, "runs unknown", "command line"},
		{"no way back", slots.Status{Booted: slots.A, Order: order[:1], Left: both}, nil, check.Warn, "nothing to fall back to", "update"},
		{"not the confirmed one", slots.Status{Booted: slots.B, Order: order, Left: both}, nil, check.Warn, "slot A is confirmed and could not be started", "slot confirm"},
		{"not again", slots.Status{Booted: slots.B, OnTrial: slots.A, Order: order[:1], Left: both}, nil, check.Warn, "would not be started again", "slot confirm"},
		{"unreadable", slots.Status{}, errors.New("no partition"), check.Fail, "no partition", "board"},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, check.Slots(twoSlots{status: test.status, err: test.err}), "slots", test.level, test.text, test.hint)
		})
	}
}

func TestReport(t *testing.T) {
	r := check.Report{check.Okay("a", "fine"), check.Warning("longer", "do it", "so so"), check.Failure("b", "", "broken")}
	var text, object bytes.Buffer
	if err := errors.Join(r.Print(&text), r.JSON(&object)); err != nil {
		t.Fatal(err)
	}
	const want = "OK    a       fine\nWARN  longer  so so\n              → do it\nFAIL  b       broken\n"
	if text.String() != want || r.Failures() != 1 {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
	var back struct {
		OK    bool
		Lines []check.Line
	}
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || back.OK || len(back.Lines) != 3 || back.Lines[1].Hint != "do it" {
		t.Errorf("got %s, %v", object.Bytes(), err)
	}
}
