package protocol

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxIDLength is the longest vehicle, device, campaign or document identifier, in bytes.
const MaxIDLength = 64

// ErrID is wrapped by every error about a malformed identifier.
var ErrID = errors.New("malformed identifier")

// VehicleID names a vehicle. It is opaque and never the VIN. Empty means unset.
type VehicleID string

// DeviceID names a telematics device of a vehicle, and is its MQTT client identifier. Empty means unset.
type DeviceID string

// CampaignID names a campaign. Empty means unset.
type CampaignID string

// ParseVehicleID checks that s is 1 to 64 characters of [A-Za-z0-9_-], the
// first a letter or digit, and no word that stands in a vehicle's place in the
// topic tree. The error wraps ErrID.
func ParseVehicleID(s string) (VehicleID, error) {
	if Reserved(s) {
		return "", fmt.Errorf("vehicle id is the reserved word %s: %w", s, ErrID)
	}
	return VehicleID(s), CheckID("vehicle id", s)
}

// reservedVehicles are first levels of other branches of the topic tree.
var reservedVehicles = [...]string{"bcast", "infra", "app", "ops"}

// Reserved says that a word stands in a vehicle's place in the topic tree, so that no vehicle may be called so.
func Reserved(vehicle string) bool {
	for _, r := range reservedVehicles {
		if vehicle == r {
			return true
		}
	}
	return false
}

// ParseDeviceID checks s like ParseVehicleID; no word is reserved.
func ParseDeviceID(s string) (DeviceID, error) {
	return DeviceID(s), CheckID("device id", s)
}

// ParseCampaignID checks s like ParseDeviceID.
func ParseCampaignID(s string) (CampaignID, error) {
	return CampaignID(s), CheckID("campaign id", s)
}

// CheckID says what is wrong with s as an identifier called what, without repeating s:
// identifiers end up in logs, and a VIN must not.
func CheckID(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is empty: %w", what, ErrID)
	case len(s) > MaxIDLength:
		return fmt.Errorf("%s has %d characters, expected at most %d: %w", what, len(s), MaxIDLength, ErrID)
	}
	for i := range len(s) {
		if !idByte(s[i], i == 0) {
			return fmt.Errorf("%s has %q at position %d, expected letters, digits, - and _: %w", what, s[i], i, ErrID)
		}
	}
	return nil
}

func idByte(c byte, first bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return !first && (c == '-' || c == '_')
}

// BootID is drawn at random at each start of an agent, so that sequence numbers
// of different starts, and of replaced devices, never collide. Zero means unset.
type BootID [8]byte

// String gives 16 hexadecimal digits.
func (b BootID) String() string { return hex.EncodeToString(b[:]) }

// MarshalText implements encoding.TextMarshaler with the form of String.
func (b BootID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see ParseBootID.
func (b *BootID) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBootID(string(text))
	return err
}

// ParseBootID reads what String writes.
func ParseBootID(s string) (BootID, error) {
	var b BootID
	if err := ParseHex("boot id", s, b[:]); err != nil {
		return BootID{}, err
	}
	return b, nil
}

// SchemaHash is the SHA-256 of a schema document, under which it is kept for ever. Zero means unset.
type SchemaHash [32]byte

// SchemaID is the first 8 bytes of a SchemaHash, as carried in each batch.
type SchemaID [8]byte

// ID gives the prefix that batches carry.
func (h SchemaHash) ID() SchemaID { return SchemaID(h[:8]) }

// String gives 64 hexadecimal digits.
func (h SchemaHash) String() string { return hex.EncodeToString(h[:]) }

// String gives 16 hexadecimal digits.
func (s SchemaID) String() string { return hex.EncodeToString(s[:]) }

// ParseSchemaHash reads what SchemaHash.String writes.
func ParseSchemaHash(s string) (SchemaHash, error) {
	var h SchemaHash
	if err := ParseHex("schema hash", s, h[:]); err != nil {
		return SchemaHash{}, err
	}
	return h, nil
}

// ParseHex fills dst from exactly 2·len(dst) lower-case hexadecimal digits.
func ParseHex(what, s string, dst []byte) error {
	if len(s) != hex.EncodedLen(len(dst)) || strings.ToLower(s) != s {
		return fmt.Errorf("%s: expected %d lower-case hexadecimal digits: %w", what, hex.EncodedLen(len(dst)), ErrID)
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("%s: expected %d lower-case hexadecimal digits: %w", what, hex.EncodedLen(len(dst)), ErrID)
	}
	return nil
}

// MessageID identifies a message of a vehicle for de-duplication and for the gap
// ledger. Seq counts from 1 within a boot, without gaps, over all priorities.
type MessageID struct {
	Device DeviceID
	Boot   BootID
	Seq    uint64
}

// String gives "did.boot.seq", the value of the user property "id".
func (m MessageID) String() string {
	return string(m.Device) + "." + m.Boot.String() + "." + strconv.FormatUint(m.Seq, 10)
}

// ParseMessageID reads what String writes.
func ParseMessageID(s string) (MessageID, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return MessageID{}, fmt.Errorf("message id: expected device.boot.sequence: %w", ErrID)
	}
	device, err := ParseDeviceID(parts[0])
	if err != nil {
		return MessageID{}, fmt.Errorf("message id: %w", err)
	}
	boot, err := ParseBootID(parts[1])
	if err != nil {
		return MessageID{}, fmt.Errorf("message id: %w", err)
	}
	seq, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || seq == 0 || strconv.FormatUint(seq, 10) != parts[2] {
		return MessageID{}, fmt.Errorf("message id: sequence: expected a decimal number from 1: %w", ErrID)
	}
	return MessageID{Device: device, Boot: boot, Seq: seq}, nil
}

// SeqRange is a run of sequence numbers of one boot, both ends included; From is at most To.
type SeqRange struct {
	Boot     BootID
	From, To uint64
}

// Len is the number of sequences in r.
func (r SeqRange) Len() uint64 { return r.To - r.From + 1 }

// deviceURN begins the URI by which a certificate names a device.
const deviceURN = "urn:dev:"

// ParseDeviceURN reads "urn:dev:{vid}:{did}", the one identity in a device's
// certificate. The error wraps ErrID and does not repeat s.
func ParseDeviceURN(s string) (VehicleID, DeviceID, error) {
	rest, ok := strings.CutPrefix(s, deviceURN)
	vehicle, device, both := strings.Cut(rest, ":")
	if !ok || !both {
		return "", "", fmt.Errorf("device identity: expected %svehicle:device: %w", deviceURN, ErrID)
	}
	vid, err := ParseVehicleID(vehicle)
	if err != nil {
		return "", "", fmt.Errorf("device identity: %w", err)
	}
	did, err := ParseDeviceID(device)
	if err != nil {
		return "", "", fmt.Errorf("device identity: %w", err)
	}
	return vid, did, nil
}
