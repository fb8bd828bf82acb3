package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol"
)

var updateStates = []protocol.UpdateState{
	protocol.UpdatePending, protocol.UpdateDelivered, protocol.UpdateDownloading, protocol.UpdateVerified, protocol.UpdateInstalling,
	protocol.UpdateRebooting, protocol.UpdateConfirmed, protocol.UpdateFailed, protocol.UpdateRolledBack, protocol.UpdateCanceled, protocol.UpdateTimedOut,
}

func TestUpdateStates(t *testing.T) {
	deadlines := protocol.UpdateDeadlines()
	for i, s := range updateStates {
		if _, ok := deadlines[s]; ok == s.Ended() {
			t.Errorf("%s: got deadline %v and ended %v; want one or the other", s, ok, s.Ended())
		}
		if s.Next(protocol.UpdatePending) {
			t.Errorf("%s goes back to PENDING", s)
		}
		if s.Ended() && s != protocol.UpdateTimedOut {
			for _, to := range updateStates {
				changed := s == protocol.UpdateConfirmed && to == protocol.UpdateRolledBack || s == protocol.UpdateRolledBack && to == protocol.UpdateConfirmed
				if s.Next(to) != changed {
					t.Errorf("%s is an end, but may go to %s", s, to)
				}
			}
			continue
		}
		for j, to := range updateStates {
			if forward := j > i; forward && !s.Next(to) && to != protocol.UpdateCanceled {
				t.Errorf("%s may not go to %s", s, to)
			} else if s.Next(to) && j < i && s != protocol.UpdateTimedOut && to != protocol.UpdateDelivered {
				t.Errorf("%s goes back to %s", s, to)
			}
		}
	}
	for _, written := range []protocol.UpdateState{protocol.UpdateInstalling, protocol.UpdateRebooting} {
		if written.Next(protocol.UpdateCanceled) {
			t.Errorf("%s can still be canceled", written)
		}
	}
	if protocol.UpdateState("").Next(protocol.UpdateDelivered) || protocol.UpdateState("NEW").Ended() {
		t.Error("a word that is no state has a next or is an end")
	}
}

func TestUpdateValidate(t *testing.T) {
	good := protocol.Update{Version: 1, Revision: 1, ID: "u1", Device: "tcu", File: protocol.FileHash{1}, Size: 10}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*protocol.Update){
		"version 2":  func(u *protocol.Update) { u.Version = 2 },
		"update id":  func(u *protocol.Update) { u.ID = "../x" },
		"device id":  func(u *protocol.Update) { u.Device = "" },
		"file: ":     func(u *protocol.Update) { u.File = protocol.FileHash{} },
		"size: ":     func(u *protocol.Update) { u.Size = 0 },
		"size: expe": func(u *protocol.Update) { u.Size = protocol.MaxUpdateFile + 1 },
	} {
		u := good
		edit(&u)
		if err := u.Validate(); !errors.Is(err, protocol.ErrUpdate) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFeedbackValidate(t *testing.T) {
	good := protocol.UpdateFeedback{Version: 1, Device: "tcu", Update: "u1", State: protocol.UpdateDelivered, Sequence: 1}
	started := protocol.UpdateFeedback{Version: 1, Device: "tcu", Booted: true}
	if err := errors.Join(good.Validate(), started.Validate()); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*protocol.UpdateFeedback){
		"version":                   func(f *protocol.UpdateFeedback) { f.Version = 0 },
		"device id":                 func(f *protocol.UpdateFeedback) { f.Device = "a b" },
		"beside it":                 func(f *protocol.UpdateFeedback) { f.Update = "" },
		"state of the vehicle":      func(f *protocol.UpdateFeedback) { f.State = protocol.UpdateTimedOut },
		"state and sequence":        func(f *protocol.UpdateFeedback) { f.Sequence = 0 },
		"bytes: expected 0 or more": func(f *protocol.UpdateFeedback) { f.Bytes = -1 },
		"text: ":                    func(f *protocol.UpdateFeedback) { f.Detail = strings.Repeat("x", 600) },
		"update id":                 func(f *protocol.UpdateFeedback) { f.Update = "a/b" },
	} {
		f := good
		edit(&f)
		if err := f.Validate(); !errors.Is(err, protocol.ErrUpdate) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFileHash(t *testing.T) {
	h := protocol.FileHash{0xAB, 1}
	got, err := protocol.ParseFileHash(h.String())
	if err != nil || got != h {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "../../etc/passwd", strings.ToUpper(h.String()), h.String() + "00"} {
		if _, err := protocol.ParseFileHash(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if path := protocol.DownloadPath(h); path != "/v1/files/"+h.String() {
		t.Errorf("got %s", path)
	}
}

func TestDownloadEndpoint(t *testing.T) {
	for broker, want := range map[string]string{
		"cloud.example:8883": "cloud.example:8884", "cloud.example": "cloud.example:8884", "mqtts://cloud.example:9/": "cloud.example:10",
		"127.0.0.1:0": "127.0.0.1:0", "[::1]:8883": "[::1]:8884", "[::1]": "[::1]:8884", ":8883": ":8884", "a:65535": "a:0",
	} {
		if got := protocol.DownloadEndpoint(broker); got != want {
			t.Errorf("%s: got %s, want %s", broker, got, want)
		}
	}
}
