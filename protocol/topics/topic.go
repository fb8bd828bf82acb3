// Package topics holds the tree of MQTT topics that vehicle and cloud share: which kinds there
// are, how each is written, and how a topic is read.
package topics

import (
	"errors"
	"fmt"
	"strings"

	"telltale.dev/protocol"
)

// ErrInvalid is wrapped by every error about a malformed topic.
var ErrInvalid = errors.New("malformed topic")

// MaxLength bounds a topic in bytes; MaxLevels its levels.
const (
	MaxLength = 256
	MaxLevels = 8
)

// Kind says what a topic is for. The zero Kind is unset. Append-only: buffers on disk hold topics.
type Kind uint8

// The kinds, in the order of the topic tree.
const (
	Unset Kind = iota
	Presence
	Checkin
	State
	Event
	Telemetry
	Schema
	Object
	CommandStatus
	ConfigStatus
	WorkloadState
	UpdateFeedback
	Security
	Health
	CommandRequest
	CommandCancel
	Config
	Fetch
	Broadcast
	OpsConfig
	OpsResult
)

// Topic is a parsed MQTT topic. Only the fields that Kind's pattern names are
// set; Topic values are comparable, and Parse(t.String()) == t.
type Topic struct {
	Kind     Kind
	Vehicle  protocol.VehicleID
	Device   protocol.DeviceID
	Campaign protocol.CampaignID
	Schema   protocol.SchemaHash
	// Name is the event type, command name, document, workload, or the
	// operations document's kind.
	Name string
	// ID is the execution id, object id, or the operations document's id.
	ID string
	// Market, Service and Cell address a broadcast.
	Market, Service, Cell string
}

// patterns gives each kind its levels. A level in braces is a field.
var patterns = [...]string{
	Presence:       "v1/{vid}/up/presence/{did}",
	Checkin:        "v1/{vid}/up/checkin/{did}",
	State:          "v1/{vid}/up/state",
	Event:          "v1/{vid}/up/event/{name}",
	Telemetry:      "v1/{vid}/up/telemetry/{campaign}",
	Schema:         "v1/{vid}/up/schema/{hash}",
	Object:         "v1/{vid}/up/object/{id}",
	CommandStatus:  "v1/{vid}/up/command/{name}/{id}/status",
	ConfigStatus:   "v1/{vid}/up/config/{name}/status",
	WorkloadState:  "v1/{vid}/up/workload/{name}/state",
	UpdateFeedback: "v1/{vid}/up/update/{did}/feedback",
	Security:       "v1/{vid}/up/security/{did}",
	Health:         "v1/{vid}/up/health/{did}",
	CommandRequest: "v1/{vid}/down/command/{name}/{id}/request",
	CommandCancel:  "v1/{vid}/down/command/{name}/{id}/cancel",
	Config:         "v1/{vid}/down/config/{name}",
	Fetch:          "v1/{vid}/down/fetch",
	Broadcast:      "v1/bcast/{market}/{service}/{cell}",
	OpsConfig:      "v1/ops/config/{name}/{id}",
	OpsResult:      "v1/ops/config/{name}/{id}/result",
}

// Up says whether the topic is one that a vehicle publishes.
func (k Kind) Up() bool { return k >= Presence && k <= Health }

// Down says whether the topic is addressed to one vehicle.
func (k Kind) Down() bool { return k >= CommandRequest && k <= Fetch }

// Word is the level of the pattern that names the kind: "presence",
// "telemetry", "config" and so on; it is used in stream subjects and counters.
func (k Kind) Word() string {
	if k == Unset || int(k) >= len(patterns) {
		return "unset"
	}
	levels := strings.Split(patterns[k], "/")
	if levels[1] != "{vid}" {
		return levels[1]
	}
	return levels[3]
}

// typicalTopic is how many bytes most topics have at most.
const typicalTopic = 96

// String writes the topic. It does not check the fields; Parse does.
func (t Topic) String() string {
	if t.Kind == Unset || int(t.Kind) >= len(patterns) {
		return ""
	}
	var b strings.Builder
	b.Grow(typicalTopic)
	for level := range strings.SplitSeq(patterns[t.Kind], "/") {
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(t.level(level))
	}
	return b.String()
}

func (t Topic) level(level string) string {
	switch level {
	case "{vid}":
		return string(t.Vehicle)
	case "{did}":
		return string(t.Device)
	case "{campaign}":
		return string(t.Campaign)
	case "{hash}":
		return t.Schema.String()
	case "{name}":
		return t.Name
	case "{id}":
		return t.ID
	case "{market}":
		return t.Market
	case "{service}":
		return t.Service
	case "{cell}":
		return t.Cell
	}
	return level
}

// Parse reads a topic (not a filter). The error wraps ErrInvalid and names
// the level, not the topic: topics hold identifiers of vehicles.
func Parse(s string) (Topic, error) {
	if len(s) > MaxLength {
		return Topic{}, fmt.Errorf("topic has %d bytes, expected at most %d: %w", len(s), MaxLength, ErrInvalid)
	}
	levels := strings.Split(s, "/")
	if len(levels) > MaxLevels {
		return Topic{}, fmt.Errorf("topic has %d levels, expected at most %d: %w", len(levels), MaxLevels, ErrInvalid)
	}
	for kind := Presence; int(kind) < len(patterns); kind++ {
		if matches(patternLevels[kind], levels) {
			return parseLevels(kind, levels)
		}
	}
	return Topic{}, fmt.Errorf("topic is not in the topic tree: %w", ErrInvalid)
}

// patternLevels are the levels of each of patterns, split once, because each message of a vehicle is parsed.
var patternLevels = func() (split [len(patterns)][]string) {
	for kind, pattern := range patterns {
		split[kind] = strings.Split(pattern, "/")
	}
	return split
}()

// matches says whether the fixed levels of the pattern are those of the topic.
func matches(pattern, levels []string) bool {
	if len(pattern) != len(levels) {
		return false
	}
	for i, want := range pattern {
		if want[0] == '{' {
			if want == "{vid}" && protocol.Reserved(levels[i]) {
				return false
			}
		} else if want != levels[i] {
			return false
		}
	}
	return true
}

func parseLevels(kind Kind, levels []string) (Topic, error) {
	t := Topic{Kind: kind}
	for i, want := range patternLevels[kind] {
		if err := t.setLevel(want, levels[i]); err != nil {
			return Topic{}, fmt.Errorf("topic level %d: %w: %w", i+1, err, ErrInvalid)
		}
	}
	return t, nil
}

func (t *Topic) setLevel(level, s string) (err error) {
	switch level {
	case "{vid}":
		t.Vehicle, err = protocol.ParseVehicleID(s)
	case "{did}":
		t.Device, err = protocol.ParseDeviceID(s)
	case "{campaign}":
		t.Campaign, err = protocol.ParseCampaignID(s)
	case "{hash}":
		t.Schema, err = protocol.ParseSchemaHash(s)
	case "{name}":
		t.Name, err = s, checkName("name", s)
	case "{id}":
		t.ID, err = s, checkName("id", s)
	case "{market}":
		t.Market, err = s, checkName("market", s)
	case "{service}":
		t.Service, err = s, checkName("service", s)
	case "{cell}":
		t.Cell, err = s, checkName("cell", s)
	}
	return err
}

// checkName is protocol.CheckID with dots allowed inside: "braking.severe", "doors.unlock".
func checkName(what, s string) error {
	return protocol.CheckID(what, strings.ReplaceAll(s, ".", "-"))
}
