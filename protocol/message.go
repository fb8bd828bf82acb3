package protocol

import "time"

// Keys of MQTT 5 user properties. An absent key means its default.
const (
	PropPriority    = "pr" // Priority, for example "CS4"; default CS1
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

// MaxDocument is the largest inline document, in bytes; MaxPacket the largest MQTT packet.
const (
	MaxDocument = 8 << 10
	MaxPacket   = 256 << 10
)

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

// StatusVersion is the version of DocumentStatus. From 2 on, the results of a status with
// a rejection also list, as ACTIVE, which revisions run nevertheless: a campaign that is
// rejected and not listed so does not run at all.
const StatusVersion = 2

// DocumentStatus is the payload of up/config/{doc}/status: what became of a document on the vehicle.
type DocumentStatus struct {
	Version  int              `cbor:"v" json:"version"` // 1 or StatusVersion
	Document string           `cbor:"doc" json:"document"`
	Device   DeviceID         `cbor:"did" json:"device"`
	Results  []DocumentResult `cbor:"results" json:"results"`
}

// DocumentResult is the word on one revision of one document.
type DocumentResult struct {
	ID       string        `cbor:"id" json:"id"`
	Revision uint64        `cbor:"rev" json:"revision"`
	State    CampaignState `cbor:"state" json:"state"`
	Reason   Reason        `cbor:"reason,omitempty" json:"reason,omitempty"`
	Detail   string        `cbor:"detail,omitempty" json:"detail,omitempty"` // one line for a person, no identifiers
}

// CampaignState is where a campaign stands on one vehicle.
type CampaignState string

// The states, in FleetWise's words.
const (
	CampaignPending   CampaignState = "PENDING"
	CampaignDelivered CampaignState = "DELIVERED"
	CampaignActive    CampaignState = "ACTIVE"
	CampaignSuspended CampaignState = "SUSPENDED"
	CampaignRejected  CampaignState = "REJECTED"
	CampaignExpired   CampaignState = "EXPIRED"
	CampaignRemoved   CampaignState = "REMOVED"
)
