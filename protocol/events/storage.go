// Package events holds the payloads of a device's events, up/event/{type}.
package events

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"telltale.dev/protocol"
)

// TypeStorage is the type of the event by which a device says what its start
// found of its data partition: up/event/storage.
const TypeStorage = "storage"

// ErrStorage is wrapped by every error about a storage event that is not as it should be.
var ErrStorage = errors.New("malformed storage event")

// StorageState is what a start of a device found of its data partition. Append-only.
type StorageState string

// The states.
const (
	StorageKept       StorageState = "kept"        // it is there, with what the device stored before
	StorageRecreated  StorageState = "recreated"   // it was lost and has been made anew: the device goes on, without what it had stored
	StorageMemoryOnly StorageState = "memory-only" // there is none: what the device stores ends with its power
)

// Lost says whether what the device had stored is gone.
func (s StorageState) Lost() bool { return s == StorageRecreated || s == StorageMemoryOnly }

// MaxStorageReason bounds the reason of a storage event, in bytes.
const MaxStorageReason = 200

// Storage is the payload of a storage event. A loss is told once, though maybe
// more than once with the same Loss when a power cut hid that it was.
type Storage struct {
	Version int               `cbor:"v,required" json:"version"` // 1
	Device  protocol.DeviceID `cbor:"did,required" json:"device"`
	State   StorageState      `cbor:"storage,required" json:"storage"`
	Loss    string            `cbor:"loss,omitempty" json:"loss,omitempty"`     // names the loss, an identifier; empty when kept
	Reason  string            `cbor:"reason,omitempty" json:"reason,omitempty"` // one line for a person, no identifiers, no paths
	At      int64             `cbor:"at,omitempty" json:"at,omitempty"`         // ms since the Unix epoch by the vehicle's clock
}

// Sender is the device that says it.
func (s *Storage) Sender() protocol.DeviceID { return s.Device }

// Validate says which field is wrong. The error wraps ErrStorage.
func (s *Storage) Validate() error {
	_, deviceErr := protocol.ParseDeviceID(string(s.Device))
	var err error
	switch {
	case s.Version != 1:
		err = fmt.Errorf("version %d, expected 1", s.Version)
	case deviceErr != nil:
		err = deviceErr
	case s.State != StorageKept && !s.State.Lost():
		err = errors.New("storage: expected kept, recreated or memory-only")
	case s.State == StorageKept && (s.Loss != "" || s.Reason != ""):
		err = errors.New("loss and reason: expected none where nothing is lost")
	case s.State.Lost():
		err = protocol.CheckID("loss", s.Loss)
	}
	if err == nil && !oneLine(s.Reason) {
		err = fmt.Errorf("reason: expected one line of at most %d bytes", MaxStorageReason)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrStorage)
	}
	return nil
}

func oneLine(text string) bool {
	if len(text) > MaxStorageReason || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
