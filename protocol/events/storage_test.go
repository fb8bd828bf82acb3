package events_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol/events"
)

func TestStorageValidate(t *testing.T) {
	good := events.Storage{Version: 1, Device: "tcu", State: events.StorageRecreated, Loss: "00ff", Reason: strings.Repeat("x", events.MaxStorageReason)}
	kept := events.Storage{Version: 1, Device: "tcu", State: events.StorageKept}
	if err := errors.Join(good.Validate(), kept.Validate()); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*events.Storage){
		"version 2":                func(s *events.Storage) { s.Version = 2 },
		"device id":                func(s *events.Storage) { s.Device = "" },
		"storage: expected kept":   func(s *events.Storage) { s.State = "gone" },
		"where nothing is lost":    func(s *events.Storage) { s.State = events.StorageKept },
		"loss is empty":            func(s *events.Storage) { s.Loss = "" },
		"reason: expected one":     func(s *events.Storage) { s.Reason += "x" },
		"reason: expected one lin": func(s *events.Storage) { s.Reason = "two\nlines" },
		"reason: expected one l":   func(s *events.Storage) { s.Reason = "\xff" },
	} {
		s := good
		edit(&s)
		if err := s.Validate(); !errors.Is(err, events.ErrStorage) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
