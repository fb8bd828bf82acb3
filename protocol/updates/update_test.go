package updates_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol/updates"
)

var updateStates = []updates.State{
	updates.Pending, updates.Delivered, updates.Downloading, updates.Verified, updates.Installing,
	updates.Rebooting, updates.Confirmed, updates.Failed, updates.RolledBack, updates.Canceled, updates.TimedOut,
}

func TestUpdateStates(t *testing.T) {
	deadlines := updates.Deadlines()
	for i, s := range updateStates {
		if _, ok := deadlines[s]; ok == s.Ended() {
			t.Errorf("%s: got deadline %v and ended %v; want one or the other", s, ok, s.Ended())
		}
		if s.Next(updates.Pending) {
			t.Errorf("%s goes back to PENDING", s)
		}
		if s.Ended() && s != updates.TimedOut {
			for _, to := range updateStates {
				changed := s == updates.Confirmed && to == updates.RolledBack || s == updates.RolledBack && to == updates.Confirmed
				if s.Next(to) != changed {
					t.Errorf("%s is an end, but may go to %s", s, to)
				}
			}
			continue
		}
		for j, to := range updateStates {
			if forward := j > i; forward && !s.Next(to) && to != updates.Canceled {
				t.Errorf("%s may not go to %s", s, to)
			} else if s.Next(to) && j < i && s != updates.TimedOut && to != updates.Delivered {
				t.Errorf("%s goes back to %s", s, to)
			}
		}
	}
	for _, written := range []updates.State{updates.Installing, updates.Rebooting} {
		if written.Next(updates.Canceled) {
			t.Errorf("%s can still be canceled", written)
		}
	}
	if updates.State("").Next(updates.Delivered) || updates.State("NEW").Ended() {
		t.Error("a word that is no state has a next or is an end")
	}
}

func TestUpdateValidate(t *testing.T) {
	good := updates.Update{Version: 1, Revision: 1, ID: "u1", Device: "tcu", File: updates.FileHash{1}, Size: 10}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*updates.Update){
		"version 2":  func(u *updates.Update) { u.Version = 2 },
		"update id":  func(u *updates.Update) { u.ID = "../x" },
		"device id":  func(u *updates.Update) { u.Device = "" },
		"file: ":     func(u *updates.Update) { u.File = updates.FileHash{} },
		"size: ":     func(u *updates.Update) { u.Size = 0 },
		"size: expe": func(u *updates.Update) { u.Size = updates.MaxFile + 1 },
	} {
		u := good
		edit(&u)
		if err := u.Validate(); !errors.Is(err, updates.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFeedbackValidate(t *testing.T) {
	good := updates.Feedback{Version: 1, Device: "tcu", Update: "u1", State: updates.Delivered, Sequence: 1}
	started := updates.Feedback{Version: 1, Device: "tcu", Booted: true}
	if err := errors.Join(good.Validate(), started.Validate()); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*updates.Feedback){
		"version":                   func(f *updates.Feedback) { f.Version = 0 },
		"device id":                 func(f *updates.Feedback) { f.Device = "a b" },
		"beside it":                 func(f *updates.Feedback) { f.Update = "" },
		"state of the vehicle":      func(f *updates.Feedback) { f.State = updates.TimedOut },
		"state and sequence":        func(f *updates.Feedback) { f.Sequence = 0 },
		"bytes: expected 0 or more": func(f *updates.Feedback) { f.Bytes = -1 },
		"text: ":                    func(f *updates.Feedback) { f.Detail = strings.Repeat("x", 600) },
		"update id":                 func(f *updates.Feedback) { f.Update = "a/b" },
	} {
		f := good
		edit(&f)
		if err := f.Validate(); !errors.Is(err, updates.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFileHash(t *testing.T) {
	h := updates.FileHash{0xAB, 1}
	got, err := updates.ParseFileHash(h.String())
	if err != nil || got != h {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "../../etc/passwd", strings.ToUpper(h.String()), h.String() + "00"} {
		if _, err := updates.ParseFileHash(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if path := updates.DownloadPath(h); path != "/v1/files/"+h.String() {
		t.Errorf("got %s", path)
	}
}

func TestDownloadEndpoint(t *testing.T) {
	for broker, want := range map[string]string{
		"cloud.example:8883": "cloud.example:8884", "cloud.example": "cloud.example:8884", "mqtts://cloud.example:9/": "cloud.example:10",
		"127.0.0.1:0": "127.0.0.1:0", "[::1]:8883": "[::1]:8884", "[::1]": "[::1]:8884", ":8883": ":8884", "a:65535": "a:0",
	} {
		if got := updates.DownloadEndpoint(broker); got != want {
			t.Errorf("%s: got %s, want %s", broker, got, want)
		}
	}
}
