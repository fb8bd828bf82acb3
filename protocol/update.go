package protocol

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DocumentUpdate names the document in topics: down/config/update.
const DocumentUpdate = "update"

// ErrUpdate is wrapped by every error about an update document or feedback that is not as it should be.
var ErrUpdate = errors.New("malformed update")

// UpdateID names one update of one vehicle. Empty means unset.
type UpdateID string

// ParseUpdateID checks s like ParseDeviceID.
func ParseUpdateID(s string) (UpdateID, error) { return UpdateID(s), checkID("update id", s) }

// FileHash is the SHA-256 of a whole update file, under which it is kept. Zero means unset.
type FileHash [32]byte

// String gives 64 hexadecimal digits.
func (h FileHash) String() string { return hex.EncodeToString(h[:]) }

// ParseFileHash reads what String writes.
func ParseFileHash(s string) (FileHash, error) {
	var h FileHash
	if err := parseHex("file", s, h[:]); err != nil {
		return FileHash{}, err
	}
	return h, nil
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (h FileHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseFileHash.
func (h *FileHash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseFileHash(string(text))
	return err
}

// DownloadPath is where a device fetches an update file. The host is never part
// of a document: a device asks the download endpoint of its own configuration.
func DownloadPath(h FileHash) string { return DownloadPrefix + h.String() }

// DownloadPrefix begins every DownloadPath.
const DownloadPrefix = "/v1/files/"

// DownloadEndpoint is where update files come from when nothing else is said: the
// host of the broker, which is host:port or mqtts://host[:port], and the port after the broker's.
func DownloadEndpoint(broker string) string {
	if _, rest, ok := strings.Cut(broker, "://"); ok {
		broker = strings.TrimSuffix(rest, "/")
	}
	host, port := broker, uint64(brokerPort)
	if i := strings.LastIndexByte(broker, ':'); i >= 0 && !strings.HasSuffix(broker, "]") {
		host = broker[:i]
		if n, err := strconv.ParseUint(broker[i+1:], 10, 16); err == nil {
			port = n
		}
	}
	if port == 0 || port == 65535 {
		return host + ":0" // any free one
	}
	return host + ":" + strconv.FormatUint(port+1, 10)
}

// brokerPort is that of MQTT over TLS.
const brokerPort = 8883

// MaxUpdateFile is the largest update file that a document may speak of, in bytes.
const MaxUpdateFile = 4<<30 + 8<<10

// Update is the document that asks one device of a vehicle to change its
// firmware, or not to do so any more.
type Update struct {
	Version  int      `cbor:"v" json:"version"`    // 1
	Revision uint64   `cbor:"rev" json:"revision"` // rises with each change of the vehicle's document
	ID       UpdateID `cbor:"id" json:"id"`
	Device   DeviceID `cbor:"did" json:"device"` // other devices of the vehicle pass the document over
	// Cancel asks the device to drop this update while nothing has been written to a slot.
	Cancel bool     `cbor:"cancel,omitempty" json:"cancel,omitempty"`
	File   FileHash `cbor:"file" json:"file"`
	Size   int64    `cbor:"size" json:"size"` // of the file, in bytes
	// AllowDowngrade takes a release older than the one running.
	AllowDowngrade bool `cbor:"downgrade,omitempty" json:"allow_downgrade,omitempty"`
	// Health is how many seconds the new firmware has until it must be healthy and
	// connected, counted from the start of its agent. Zero: the device decides.
	Health uint32 `cbor:"health,omitempty" json:"health_s,omitempty"`
	// After is the highest sequence that the cloud has seen from this update; a
	// device that lost its data goes on above it.
	After uint64 `cbor:"after,omitempty" json:"after,omitempty"`
}

// Validate says which field is wrong. The error wraps ErrUpdate.
func (u *Update) Validate() error {
	_, idErr := ParseUpdateID(string(u.ID))
	_, deviceErr := ParseDeviceID(string(u.Device))
	var err error
	switch {
	case u.Version != 1:
		err = fmt.Errorf("version %d, expected 1", u.Version)
	case idErr != nil || deviceErr != nil:
		err = errors.Join(idErr, deviceErr)
	case u.File == FileHash{}:
		err = errors.New("file: expected its SHA-256")
	case u.Size < 1 || u.Size > MaxUpdateFile:
		err = fmt.Errorf("size: expected 1 to %d bytes", int64(MaxUpdateFile))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrUpdate)
	}
	return nil
}

// UpdateState is where an update stands.
//
//	PENDING ─▶ DELIVERED ─▶ DOWNLOADING ─▶ VERIFIED ─▶ INSTALLING ─▶ REBOOTING ─▶ CONFIRMED
//	                 └────────────┴────────────┴────────────┴─────────────┼─────▶ FAILED
//	                 └────────────┴────────────┘ CANCELED                 └─────▶ ROLLED_BACK
//
// A device whose boot loader can no longer start the confirmed slot goes from CONFIRMED to
// ROLLED_BACK, and back to CONFIRMED when it can again.
//
// PENDING and TIMED_OUT are the cloud's own words; all others are the vehicle's.
type UpdateState string

// The states.
const (
	UpdatePending     UpdateState = "PENDING"     // the vehicle has not answered yet
	UpdateDelivered   UpdateState = "DELIVERED"   // the device has the document
	UpdateDownloading UpdateState = "DOWNLOADING" //
	UpdateVerified    UpdateState = "VERIFIED"    // file complete, signature, board and release as they should be
	UpdateInstalling  UpdateState = "INSTALLING"  // written to the slot that does not run
	UpdateRebooting   UpdateState = "REBOOTING"   // the new slot is first, or runs and has not proved itself yet
	UpdateConfirmed   UpdateState = "CONFIRMED"   // the new firmware runs, healthy and connected
	UpdateFailed      UpdateState = "FAILED"      // the firmware from before runs; the new one was never started
	UpdateRolledBack  UpdateState = "ROLLED_BACK" // the new one was started, and the one from before runs again
	UpdateCanceled    UpdateState = "CANCELED"    //
	UpdateTimedOut    UpdateState = "TIMED_OUT"   // nothing was heard in time
)

// updateNext is the one transition table of both ends: a state may be followed
// by those of its row. Steps may be left out, since feedback can be lost with the
// disk of a vehicle; and a vehicle that lost its disk starts over at DELIVERED.
var updateNext = map[UpdateState][]UpdateState{
	UpdatePending:     {UpdateDelivered, UpdateDownloading, UpdateVerified, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled, UpdateTimedOut},
	UpdateDelivered:   {UpdateDelivered, UpdateDownloading, UpdateVerified, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled, UpdateTimedOut},
	UpdateDownloading: {UpdateDelivered, UpdateDownloading, UpdateVerified, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled, UpdateTimedOut},
	UpdateVerified:    {UpdateDelivered, UpdateVerified, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled, UpdateTimedOut},
	UpdateInstalling:  {UpdateDelivered, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateTimedOut},
	UpdateRebooting:   {UpdateDelivered, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateTimedOut},
	// The confirmed slot could not be started any more, and could be again.
	UpdateConfirmed:  {UpdateRolledBack},
	UpdateRolledBack: {UpdateConfirmed},
	// The cloud's own ends: a late word of the vehicle corrects them.
	UpdateTimedOut: {UpdateDelivered, UpdateDownloading, UpdateVerified, UpdateInstalling, UpdateRebooting, UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled},
}

// Next says whether an update in state s may go to state to. FAILED and CANCELED have no next.
func (s UpdateState) Next(to UpdateState) bool {
	for _, next := range updateNext[s] {
		if next == to {
			return true
		}
	}
	return false
}

// Ended says that nothing more is going to happen.
func (s UpdateState) Ended() bool {
	switch s {
	case UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled, UpdateTimedOut:
		return true
	}
	return false
}

// Vehicle says whether s is a word of the vehicle's.
func (s UpdateState) Vehicle() bool {
	switch s {
	case UpdateDelivered, UpdateDownloading, UpdateVerified, UpdateInstalling, UpdateRebooting,
		UpdateConfirmed, UpdateFailed, UpdateRolledBack, UpdateCanceled:
		return true
	}
	return false
}

// UpdateDeadlines are the times after which an update that says nothing new is
// TIMED_OUT, by the state it stands in.
func UpdateDeadlines() map[UpdateState]time.Duration {
	return map[UpdateState]time.Duration{
		UpdatePending:     7 * 24 * time.Hour,
		UpdateDelivered:   time.Hour,
		UpdateDownloading: 24 * time.Hour, // without progress
		UpdateVerified:    time.Hour,
		UpdateInstalling:  time.Hour,
		UpdateRebooting:   time.Hour,
	}
}

// Running is the firmware that a device runs, by its own word.
type Running struct {
	Version string `cbor:"version" json:"version"`                     // empty: unknown
	Release uint64 `cbor:"release,omitempty" json:"release,omitempty"` // zero: unknown
	Board   string `cbor:"board,omitempty" json:"board,omitempty"`
	Slot    string `cbor:"slot,omitempty" json:"slot,omitempty"`   // empty: no slots, or unknown which one
	Trial   bool   `cbor:"trial,omitempty" json:"trial,omitempty"` // not confirmed yet
	// Confirmed is the slot that should run, when another one does because the boot loader could
	// not start it; else empty. A cloud must know this field before its vehicles send it.
	Confirmed string `cbor:"confirmed,omitempty" json:"confirmed,omitempty"`
}

// UpdateFeedback is the payload of up/update/{did}/feedback: where an update
// stands, and what runs. At each start a device sends one, without an Update when there is none.
type UpdateFeedback struct {
	Version  int         `cbor:"v" json:"version"` // 1
	Device   DeviceID    `cbor:"did" json:"device"`
	Update   UpdateID    `cbor:"id,omitempty" json:"id,omitempty"`
	State    UpdateState `cbor:"state,omitempty" json:"state,omitempty"`
	Sequence uint64      `cbor:"seq,omitempty" json:"sequence,omitempty"`    // rises with each feedback of an update
	Bytes    int64       `cbor:"bytes,omitempty" json:"bytes,omitempty"`     // of the file that are there
	Reason   Reason      `cbor:"reason,omitempty" json:"reason,omitempty"`   // of FAILED, ROLLED_BACK, CANCELED
	Detail   string      `cbor:"detail,omitempty" json:"detail,omitempty"`   // one line for a person, no identifiers
	Running  Running     `cbor:"running" json:"running"`                     //
	At       int64       `cbor:"at,omitempty" json:"at,omitempty"`           // ms since the Unix epoch by the vehicle's clock
	Booted   bool        `cbor:"booted,omitempty" json:"booted,omitempty"`   // the first feedback since the agent's start
	Attempt  uint32      `cbor:"attempt,omitempty" json:"attempt,omitempty"` // of the download, from 1
}

// maxFeedbackText bounds each text of a feedback, in bytes.
const maxFeedbackText = 512

// Validate says which field is wrong. The error wraps ErrUpdate.
func (f *UpdateFeedback) Validate() error {
	_, deviceErr := ParseDeviceID(string(f.Device))
	var err error
	switch {
	case f.Version != 1:
		err = fmt.Errorf("version %d, expected 1", f.Version)
	case deviceErr != nil:
		err = deviceErr
	case f.Update == "" && f.State != "":
		err = errors.New("state: expected the update's id beside it")
	case f.Update != "" && (!f.State.Vehicle() || f.Sequence == 0):
		err = errors.New("state and sequence: expected a state of the vehicle and a number from 1")
	case f.Bytes < 0:
		err = errors.New("bytes: expected 0 or more")
	case len(f.Detail) > maxFeedbackText || len(f.Reason) > MaxIDLength || len(f.Running.Version) > MaxIDLength ||
		len(f.Running.Board) > MaxIDLength || max(len(f.Running.Slot), len(f.Running.Confirmed)) > MaxIDLength:
		err = errors.New("text: longer than expected")
	case f.Update != "":
		_, err = ParseUpdateID(string(f.Update))
	}
	if err != nil {
		return fmt.Errorf("feedback: %w: %w", err, ErrUpdate)
	}
	return nil
}
