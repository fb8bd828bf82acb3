package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol"
)

func TestStorageValidate(t *testing.T) {
	good := protocol.Storage{Version: 1, Device: "tcu", State: protocol.StorageRecreated, Loss: "00ff", Reason: strings.Repeat("x", protocol.MaxStorageReason)}
	kept := protocol.Storage{Version: 1, Device: "tcu", State: protocol.StorageKept}
	if err := errors.Join(good.Validate(), kept.Validate()); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*protocol.Storage){
		"version 2":                func(s *protocol.Storage) { s.Version = 2 },
		"device id":                func(s *protocol.Storage) { s.Device = "" },
		"storage: expected kept":   func(s *protocol.Storage) { s.State = "gone" },
		"where nothing is lost":    func(s *protocol.Storage) { s.State = protocol.StorageKept },
		"loss is empty":            func(s *protocol.Storage) { s.Loss = "" },
		"reason: expected one":     func(s *protocol.Storage) { s.Reason += "x" },
		"reason: expected one lin": func(s *protocol.Storage) { s.Reason = "two\nlines" },
		"reason: expected one l":   func(s *protocol.Storage) { s.Reason = "\xff" },
	} {
		s := good
		edit(&s)
		if err := s.Validate(); !errors.Is(err, protocol.ErrStorage) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
