// Package updates holds the documents of a firmware update: what the cloud asks of a device,
// what the device tells back, and the states that an update goes through.
package updates

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
)

// Document names the document in topics: down/config/update.
const Document = "update"

// ErrInvalid is wrapped by every error about an update document or feedback that is not as it should be.
var ErrInvalid = errors.New("malformed update")

// ID names one update of one vehicle. Empty means unset.
type ID string

// ParseID checks s like ParseDeviceID.
func ParseID(s string) (ID, error) { return ID(s), protocol.CheckID("update id", s) }

// FileHash is the SHA-256 of a whole update file, under which it is kept. Zero means unset.
type FileHash [32]byte

// String gives 64 hexadecimal digits.
func (h FileHash) String() string { return hex.EncodeToString(h[:]) }

// ParseFileHash reads what String writes.
func ParseFileHash(s string) (FileHash, error) {
	var h FileHash
	if err := protocol.ParseHex("file", s, h[:]); err != nil {
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

// MaxFile is the largest update file that a document may speak of, in bytes.
const MaxFile = 4<<30 + 8<<10

// Update is the document that asks one device of a vehicle to change its
// firmware, or not to do so any more.
type Update struct {
	Version  int               `cbor:"v,required" json:"version"`    // 1
	Revision uint64            `cbor:"rev,required" json:"revision"` // rises with each change of the vehicle's document
	ID       ID                `cbor:"id,required" json:"id"`
	Device   protocol.DeviceID `cbor:"did,required" json:"device"` // other devices of the vehicle pass the document over
	// Cancel asks the device to drop this update while nothing has been written to a slot.
	Cancel bool     `cbor:"cancel,omitempty" json:"cancel,omitempty"`
	File   FileHash `cbor:"file,required" json:"file"`
	Size   int64    `cbor:"size,required" json:"size"` // of the file, in bytes
	// AllowDowngrade takes a release older than the one running.
	AllowDowngrade bool `cbor:"downgrade,omitempty" json:"allow_downgrade,omitempty"`
	// Health is how many seconds the new firmware has until it must be healthy and
	// connected, counted from the start of its agent. Zero: the device decides.
	Health uint32 `cbor:"health,omitempty" json:"health_s,omitempty"`
	// After is the highest sequence that the cloud has seen from this update; a
	// device that lost its data goes on above it.
	After uint64 `cbor:"after,omitempty" json:"after,omitempty"`
}

// Validate says which field is wrong. The error wraps ErrInvalid.
func (u *Update) Validate() error {
	_, idErr := ParseID(string(u.ID))
	_, deviceErr := protocol.ParseDeviceID(string(u.Device))
	var err error
	switch {
	case u.Version != 1:
		err = fmt.Errorf("version %d, expected 1", u.Version)
	case idErr != nil || deviceErr != nil:
		err = errors.Join(idErr, deviceErr)
	case u.File == FileHash{}:
		err = errors.New("file: expected its SHA-256")
	case u.Size < 1 || u.Size > MaxFile:
		err = fmt.Errorf("size: expected 1 to %d bytes", int64(MaxFile))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	return nil
}

// State is where an update stands.
//
//	PENDING ─▶ DELIVERED ─▶ DOWNLOADING ─▶ VERIFIED ─▶ INSTALLING ─▶ REBOOTING ─▶ CONFIRMED
//	                 └────────────┴────────────┴────────────┴─────────────┼─────▶ FAILED
//	                 └────────────┴────────────┘ CANCELED                 └─────▶ ROLLED_BACK
//
// A device whose boot loader can no longer start the confirmed slot goes from CONFIRMED to
// ROLLED_BACK, and back to CONFIRMED when it can again.
//
// PENDING and TIMED_OUT are the cloud's own words; all others are the vehicle's.
type State string

// The states.
const (
	Pending     State = "PENDING"     // the vehicle has not answered yet
	Delivered   State = "DELIVERED"   // the device has the document
	Downloading State = "DOWNLOADING" //
	Verified    State = "VERIFIED"    // file complete, signature, board and release as they should be
	Installing  State = "INSTALLING"  // written to the slot that does not run
	Rebooting   State = "REBOOTING"   // the new slot is first, or runs and has not proved itself yet
	Confirmed   State = "CONFIRMED"   // the new firmware runs, healthy and connected
	Failed      State = "FAILED"      // the firmware from before runs; the new one was never started
	RolledBack  State = "ROLLED_BACK" // the new one was started, and the one from before runs again
	Canceled    State = "CANCELED"    //
	TimedOut    State = "TIMED_OUT"   // nothing was heard in time
)

// next is the one transition table of both ends: a state may be followed
// by those of its row. Steps may be left out, since feedback can be lost with the
// disk of a vehicle; and a vehicle that lost its disk starts over at DELIVERED.
var next = map[State][]State{
	Pending:     {Delivered, Downloading, Verified, Installing, Rebooting, Confirmed, Failed, RolledBack, Canceled, TimedOut},
	Delivered:   {Delivered, Downloading, Verified, Installing, Rebooting, Confirmed, Failed, RolledBack, Canceled, TimedOut},
	Downloading: {Delivered, Downloading, Verified, Installing, Rebooting, Confirmed, Failed, RolledBack, Canceled, TimedOut},
	Verified:    {Delivered, Verified, Installing, Rebooting, Confirmed, Failed, RolledBack, Canceled, TimedOut},
	Installing:  {Delivered, Installing, Rebooting, Confirmed, Failed, RolledBack, TimedOut},
	Rebooting:   {Delivered, Rebooting, Confirmed, Failed, RolledBack, TimedOut},
	// The confirmed slot could not be started any more, and could be again.
	Confirmed:  {RolledBack},
	RolledBack: {Confirmed},
	// The cloud's own ends: a late word of the vehicle corrects them.
	TimedOut: {Delivered, Downloading, Verified, Installing, Rebooting, Confirmed, Failed, RolledBack, Canceled},
}

// Next says whether an update in state s may go to state to. FAILED and CANCELED have no next.
func (s State) Next(to State) bool {
	for _, next := range next[s] {
		if next == to {
			return true
		}
	}
	return false
}

// Ended says that nothing more is going to happen.
func (s State) Ended() bool {
	switch s {
	case Confirmed, Failed, RolledBack, Canceled, TimedOut:
		return true
	}
	return false
}

// Vehicle says whether s is a word of the vehicle's.
func (s State) Vehicle() bool {
	switch s {
	case Delivered, Downloading, Verified, Installing, Rebooting,
		Confirmed, Failed, RolledBack, Canceled:
		return true
	}
	return false
}

// Deadlines are the times after which an update that says nothing new is
// TIMED_OUT, by the state it stands in.
func Deadlines() map[State]time.Duration {
	return map[State]time.Duration{
		Pending:     7 * 24 * time.Hour,
		Delivered:   time.Hour,
		Downloading: 24 * time.Hour, // without progress
		Verified:    time.Hour,
		Installing:  time.Hour,
		Rebooting:   time.Hour,
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

// Feedback is the payload of up/update/{did}/feedback: where an update
// stands, and what runs. At each start a device sends one, without an Update when there is none.
type Feedback struct {
	Version  int               `cbor:"v,required" json:"version"` // 1
	Device   protocol.DeviceID `cbor:"did,required" json:"device"`
	Update   ID                `cbor:"id,omitempty" json:"id,omitempty"`
	State    State             `cbor:"state,omitempty" json:"state,omitempty"`
	Sequence uint64            `cbor:"seq,omitempty" json:"sequence,omitempty"`    // rises with each feedback of an update
	Bytes    int64             `cbor:"bytes,omitempty" json:"bytes,omitempty"`     // of the file that are there
	Reason   reasons.Reason    `cbor:"reason,omitempty" json:"reason,omitempty"`   // of FAILED, ROLLED_BACK, CANCELED
	Detail   string            `cbor:"detail,omitempty" json:"detail,omitempty"`   // one line for a person, no identifiers
	Running  Running           `cbor:"running,required" json:"running"`            //
	At       int64             `cbor:"at,omitempty" json:"at,omitempty"`           // ms since the Unix epoch by the vehicle's clock
	Booted   bool              `cbor:"booted,omitempty" json:"booted,omitempty"`   // the first feedback since the agent's start
	Attempt  uint32            `cbor:"attempt,omitempty" json:"attempt,omitempty"` // of the download, from 1
}

// maxFeedbackText bounds each text of a feedback, in bytes.
const maxFeedbackText = 512

// Sender is the device that says it.
func (f *Feedback) Sender() protocol.DeviceID { return f.Device }

// Validate says which field is wrong. The error wraps ErrInvalid.
func (f *Feedback) Validate() error {
	_, deviceErr := protocol.ParseDeviceID(string(f.Device))
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
	case len(f.Detail) > maxFeedbackText || len(f.Reason) > protocol.MaxIDLength || len(f.Running.Version) > protocol.MaxIDLength ||
		len(f.Running.Board) > protocol.MaxIDLength || max(len(f.Running.Slot), len(f.Running.Confirmed)) > protocol.MaxIDLength:
		err = errors.New("text: longer than expected")
	case f.Update != "":
		_, err = ParseID(string(f.Update))
	}
	if err != nil {
		return fmt.Errorf("feedback: %w: %w", err, ErrInvalid)
	}
	return nil
}
