package document

import (
	"telltale.dev/protocol"
	"telltale.dev/protocol/reasons"
)

// MaxInline is the largest document that travels within a message, in bytes.
const MaxInline = 8 << 10

// StatusVersion is the version of Status. From 2 on, the results of a status with
// a rejection also list, as ACTIVE, which revisions run nevertheless: a campaign that is
// rejected and not listed so does not run at all.
const StatusVersion = 2

// Status is the payload of up/config/{doc}/status: what became of a document on the vehicle.
type Status struct {
	Version  int               `cbor:"v,required" json:"version"` // 1 or StatusVersion
	Document string            `cbor:"doc,required" json:"document"`
	Device   protocol.DeviceID `cbor:"did" json:"device"`
	Results  []Result          `cbor:"results,required" json:"results"`
}

// Validate takes every status that can be read: what is in it may be of a later version.
func (*Status) Validate() error { return nil }

// Sender is empty: earlier versions were not held to name their own device.
func (*Status) Sender() protocol.DeviceID { return "" }

// Result is the word on one revision of one document.
type Result struct {
	ID       string         `cbor:"id,required" json:"id"`
	Revision uint64         `cbor:"rev,required" json:"revision"`
	State    State          `cbor:"state,required" json:"state"`
	Reason   reasons.Reason `cbor:"reason,omitempty" json:"reason,omitempty"`
	Detail   string         `cbor:"detail,omitempty" json:"detail,omitempty"` // one line for a person, no identifiers
}

// State is where a campaign stands on one vehicle.
type State string

// The states, in FleetWise's words.
const (
	Pending   State = "PENDING"
	Delivered State = "DELIVERED"
	Active    State = "ACTIVE"
	Suspended State = "SUSPENDED"
	Rejected  State = "REJECTED"
	Expired   State = "EXPIRED"
	Removed   State = "REMOVED"
)
