package delivery

import (
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

const day = 24 * time.Hour

// Content types of kinds that have only one, and no constant in package protocol.
const (
	contentCheckin  = "application/vnd.telltale.checkin+cbor;v=1"
	contentState    = "application/vnd.telltale.state+cbor;v=1"
	contentObject   = "application/vnd.telltale.object+cbor;v=1"
	contentCommand  = "application/vnd.telltale.command+cbor;v=1"
	contentSecurity = "application/vnd.telltale.security+cbor;v=1"
	contentHealth   = "application/vnd.telltale.health+cbor;v=1"
	contentWorkload = "application/vnd.telltale.workload+cbor;v=1"
	contentFetch    = "application/vnd.telltale.fetch+cbor;v=1"
)

// documents are the content types of down/config, by the document's name.
var documents = map[string]string{
	campaigns.Document: protocol.ContentCampaigns,
	updates.Document:   protocol.ContentUpdate,
}

// one is a class that leaves no choice.
func one(class protocol.Priority, p Policy) Policy {
	p.Default, p.Ceiling = class, class
	return p
}

// kinds is the table. Events and documents differ by name: see Of.
var kinds = [...]Policy{
	topics.Unset: {},

	topics.Presence: one(protocol.CS2, Policy{QoS: 1, Retained: true, ContentType: protocol.ContentPresence, Wait: EachBirth}),
	topics.Checkin:  one(protocol.CS2, Policy{QoS: 1, TTL: time.Hour, ContentType: contentCheckin, Wait: Newest}),
	topics.State:    one(protocol.CS3, Policy{QoS: 1, TTL: 10 * time.Minute, ContentType: contentState, Wait: Newest}),
	topics.Event:    one(protocol.CS5, Policy{QoS: 1, TTL: 7 * day, Wait: Buffer}),
	// A campaign chooses the class of its batches. CS6 is for crashes alone.
	topics.Telemetry: {Default: protocol.CS1, Ceiling: protocol.CS5, ByClass: true, QoS: 1, ContentType: protocol.ContentTelemetry, Wait: Buffer},
	// A schema document travels in the class of the batch that waits for it, and is made from a file whenever one does.
	topics.Schema:         {Default: protocol.CS1, Ceiling: protocol.CS5, QoS: 1, ContentType: protocol.ContentSchema, Wait: EachBirth},
	topics.Object:         {Default: protocol.CS1, Ceiling: protocol.CS5, ByClass: true, QoS: 1, ContentType: contentObject, Wait: Buffer},
	topics.CommandStatus:  one(protocol.CS4, Policy{QoS: 1, TTL: day, Ordered: true, ContentType: contentCommand, Wait: Buffer}),
	topics.ConfigStatus:   one(protocol.CS4, Policy{QoS: 1, TTL: day, Ordered: true, ContentType: protocol.ContentStatus, Wait: Buffer}),
	topics.WorkloadState:  one(protocol.CS4, Policy{QoS: 1, TTL: day, Ordered: true, ContentType: contentWorkload, Wait: Buffer}),
	topics.UpdateFeedback: one(protocol.CS4, Policy{QoS: 1, Ordered: true, ContentType: protocol.ContentFeedback, Wait: Buffer}), // which firmware runs stays true
	topics.Security:       one(protocol.CS5, Policy{QoS: 1, TTL: 30 * day, ContentType: contentSecurity, Wait: Buffer}),
	topics.Health:         one(protocol.CS1, Policy{QoS: 0, TTL: 5 * time.Minute, ContentType: contentHealth, Wait: Nowhere}),

	topics.CommandRequest: one(protocol.CS4, Policy{QoS: 1, ContentType: contentCommand}),
	topics.CommandCancel:  one(protocol.CS4, Policy{QoS: 1, ContentType: contentCommand}),
	topics.Config:         one(protocol.CS2, Policy{QoS: 1, Retained: true}),
	topics.Fetch:          one(protocol.CS2, Policy{QoS: 1, ContentType: contentFetch}),
	topics.Broadcast:      {Default: protocol.CS1, Ceiling: protocol.CS5, QoS: 1},
	topics.OpsConfig:      one(protocol.CS2, Policy{QoS: 1}),
	topics.OpsResult:      one(protocol.CS2, Policy{QoS: 1, Retained: true}),
}
