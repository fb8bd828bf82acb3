package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTopic is wrapped by every error about a malformed topic.
var ErrTopic = errors.New("malformed topic")

// MaxTopicLength bounds a topic in bytes; MaxTopicLevels its levels.
const (
	MaxTopicLength = 256
	MaxTopicLevels = 8
)

// Kind says what a topic is for. The zero Kind is unset. Append-only: buffers on disk hold topics.
type Kind uint8

// The kinds, in the order of the topic tree.
const (
	KindUnset Kind = iota
	KindPresence
	KindCheckin
	KindState
	KindEvent
	KindTelemetry
	KindSchema
	KindObject
	KindCommandStatus
	KindConfigStatus
	KindWorkloadState
	KindUpdateFeedback
	KindSecurity
	KindHealth
	KindCommandRequest
	KindCommandCancel
	KindConfig
	KindFetch
	KindBroadcast
	KindOpsConfig
	KindOpsResult
)

// Topic is a parsed MQTT topic. Only the fields that Kind's pattern names are
// set; Topic values are comparable, and Parse(t.String()) == t.
type Topic struct {
	Kind     Kind
	Vehicle  VehicleID
	Device   DeviceID
	Campaign CampaignID
	Schema   SchemaHash
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
	KindPresence:       "v1/{vid}/up/presence/{did}",
	KindCheckin:        "v1/{vid}/up/checkin/{did}",
	KindState:          "v1/{vid}/up/state",
	KindEvent:          "v1/{vid}/up/event/{name}",
	KindTelemetry:      "v1/{vid}/up/telemetry/{campaign}",
	KindSchema:         "v1/{vid}/up/schema/{hash}",
	KindObject:         "v1/{vid}/up/object/{id}",
	KindCommandStatus:  "v1/{vid}/up/command/{name}/{id}/status",
	KindConfigStatus:   "v1/{vid}/up/config/{name}/status",
	KindWorkloadState:  "v1/{vid}/up/workload/{name}/state",
	KindUpdateFeedback: "v1/{vid}/up/update/{did}/feedback",
	KindSecurity:       "v1/{vid}/up/security/{did}",
	KindHealth:         "v1/{vid}/up/health/{did}",
	KindCommandRequest: "v1/{vid}/down/command/{name}/{id}/request",
	KindCommandCancel:  "v1/{vid}/down/command/{name}/{id}/cancel",
	KindConfig:         "v1/{vid}/down/config/{name}",
	KindFetch:          "v1/{vid}/down/fetch",
	KindBroadcast:      "v1/bcast/{market}/{service}/{cell}",
	KindOpsConfig:      "v1/ops/config/{name}/{id}",
	KindOpsResult:      "v1/ops/config/{name}/{id}/result",
}

// reservedVehicles are first levels of other branches of the tree, so no vehicle may be called so.
var reservedVehicles = [...]string{"bcast", "infra", "app", "ops"}

// Up says whether the topic is one that a vehicle publishes.
func (k Kind) Up() bool { return k >= KindPresence && k <= KindHealth }

// Down says whether the topic is addressed to one vehicle.
func (k Kind) Down() bool { return k >= KindCommandRequest && k <= KindFetch }

// Word is the level of the pattern that names the kind: "presence",
// "telemetry", "config" and so on; it is used in stream subjects and counters.
func (k Kind) Word() string {
	if k == KindUnset || int(k) >= len(patterns) {
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

// String writes the topic. It does not check the fields; ParseTopic does.
func (t Topic) String() string {
	if t.Kind == KindUnset || int(t.Kind) >= len(patterns) {
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

// ParseTopic reads a topic (not a filter). The error wraps ErrTopic and names
// the level, not the topic: topics hold identifiers of vehicles.
func ParseTopic(s string) (Topic, error) {
	if len(s) > MaxTopicLength {
		return Topic{}, fmt.Errorf("topic has %d bytes, expected at most %d: %w", len(s), MaxTopicLength, ErrTopic)
	}
	levels := strings.Split(s, "/")
	if len(levels) > MaxTopicLevels {
		return Topic{}, fmt.Errorf("topic has %d levels, expected at most %d: %w", len(levels), MaxTopicLevels, ErrTopic)
	}
	for kind := KindPresence; int(kind) < len(patterns); kind++ {
		if matches(patterns[kind], levels) {
			return parseLevels(kind, levels)
		}
	}
	return Topic{}, fmt.Errorf("topic is not in the topic tree: %w", ErrTopic)
}

// matches says whether the fixed levels of the pattern are those of the topic.
func matches(pattern string, levels []string) bool {
	i := 0
	for want := range strings.SplitSeq(pattern, "/") {
		if i == len(levels) {
			return false
		}
		if want[0] == '{' {
			if want == "{vid}" && reserved(levels[i]) {
				return false
			}
		} else if want != levels[i] {
			return false
		}
		i++
	}
	return i == len(levels)
}

func reserved(vehicle string) bool {
	for _, r := range reservedVehicles {
		if vehicle == r {
			return true
		}
	}
	return false
}

func parseLevels(kind Kind, levels []string) (Topic, error) {
	t := Topic{Kind: kind}
	i := 0
	for want := range strings.SplitSeq(patterns[kind], "/") {
		if err := t.setLevel(want, levels[i]); err != nil {
			return Topic{}, fmt.Errorf("topic level %d: %w: %w", i+1, err, ErrTopic)
		}
		i++
	}
	return t, nil
}

func (t *Topic) setLevel(level, s string) (err error) {
	switch level {
	case "{vid}":
		t.Vehicle, err = ParseVehicleID(s)
	case "{did}":
		t.Device, err = ParseDeviceID(s)
	case "{campaign}":
		t.Campaign, err = ParseCampaignID(s)
	case "{hash}":
		t.Schema, err = ParseSchemaHash(s)
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

// checkName is checkID with dots allowed inside: "braking.severe", "doors.unlock".
func checkName(what, s string) error {
	return checkID(what, strings.ReplaceAll(s, ".", "-"))
}
