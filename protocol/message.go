package protocol

import "time"

// Keys of MQTT 5 user properties. An absent key means its default.
const (
	PropPriority    = "pr" // Priority, for example "CS4"; absent: that of its kind (package delivery)
	PropMessageID   = "id" // MessageID
	PropPurpose     = "pu" // the purpose under which the content was collected
	PropConsent     = "cv" // revision of the consent document used
	PropSchema      = "sv" // schema version
	PropTrace       = "tp" // W3C traceparent
	PropTimeQuality = "tq" // gnss, ntp, rtc or unsynced
)

// Content types of MQTT payloads.
const (
	ContentTelemetry = "application/vnd.telltale.telemetry+cbor;v=1"
	ContentSchema    = "application/vnd.telltale.schema+cbor;v=1"
	ContentPresence  = "application/vnd.telltale.presence+cbor;v=1"
	ContentStatus    = "application/vnd.telltale.status+cbor;v=1"
	ContentCampaigns = "application/vnd.telltale.campaigns+cbor;v=1"
	ContentUpdate    = "application/vnd.telltale.update+cbor;v=1"
	ContentFeedback  = "application/vnd.telltale.update-feedback+cbor;v=1"
	ContentStorage   = "application/vnd.telltale.storage+cbor;v=1"
)

// MaxPacket is the largest MQTT packet, in bytes.
const MaxPacket = 256 << 10

// Connection timing defaults; all are settings of the agent.
const (
	DefaultKeepAlive     = 60 * time.Second
	DefaultSessionExpiry = 300 * time.Second // must exceed the will delay, else the will fires at once
	DefaultWillDelay     = 15 * time.Second
)

// PresenceState is what a vehicle's device says of its own connection, or its will says for it.
type PresenceState string

// The states. Unknown is never sent: it is what the cloud says after a restart, until it knows.
const (
	PresenceUnknown PresenceState = "unknown"
	PresenceOnline  PresenceState = "online"  // birth
	PresenceAsleep  PresenceState = "asleep"  // announced, with the time of waking
	PresenceOffline PresenceState = "offline" // announced
	PresenceLost    PresenceState = "lost"    // the will
)

// Presence is the payload of a presence topic. A will of connection n never
// overrides a birth of a later connection.
type Presence struct {
	Version    int           `cbor:"v" json:"version"`   // 1
	State      PresenceState `cbor:"state" json:"state"` //
	Device     DeviceID      `cbor:"did" json:"device"`  //
	Boot       BootID        `cbor:"boot" json:"boot"`   //
	Connection uint64        `cbor:"conn" json:"conn"`   // counts from 1 within a boot
	At         int64         `cbor:"at" json:"at"`       // ms since the Unix epoch by the vehicle's clock; 0: unknown
	Agent      string        `cbor:"agent" json:"agent"` // version of the agent's software
	WakesAt    int64         `cbor:"wakes,omitempty" json:"wakes_at,omitempty"`
}
