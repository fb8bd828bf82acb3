package api

import "time"

// Vehicle is a registered vehicle and what is known of its connection.
type Vehicle struct {
	ID       string    `json:"vid" doc:"opaque vehicle identifier"`
	State    string    `json:"state" enum:"ACTIVE,SUSPENDED" doc:"lifecycle"`
	Since    time.Time `json:"registered"`
	Devices  []Device  `json:"devices"`
	Signals  int       `json:"signals" doc:"signals with a last known value"`
	LastSeen string    `json:"last_sample,omitempty" doc:"source time of the newest sample, RFC 3339"`
}

// Device is one telematics device.
type Device struct {
	ID       string    `json:"did"`
	Presence string    `json:"presence" enum:"unknown,online,asleep,offline,lost"`
	Since    time.Time `json:"since" doc:"when the cloud learned of it"`
	// Wakes is nil when the device did not say.
	Wakes *time.Time `json:"wakes,omitempty" doc:"when a device that is asleep said it would wake"`
	// Loss is nil when the device never told of one.
	Loss *Loss `json:"data_lost,omitempty" doc:"the last time that the device lost what it had stored"`
}

// Loss is a loss of a device's data partition.
type Loss struct {
	Storage string     `json:"storage" enum:"recreated,memory-only" doc:"what the device stores on since: a new partition, or only memory, which is lost with its power"`
	Reason  string     `json:"reason,omitempty" doc:"in the device's words"`
	Told    time.Time  `json:"told" doc:"when the cloud learned of it"`
	Over    *time.Time `json:"over,omitempty" doc:"when the device told that a later start found its data; absent: not since"`
}

// Signal is the last known value of a signal.
type Signal struct {
	Bus     string    `json:"bus"`
	Message string    `json:"message"`
	Name    string    `json:"signal"`
	Time    time.Time `json:"time" doc:"source time"`
	Value   Number    `json:"value" doc:"physical value; null when it is not a number, or there is none: see quality"`
	Quality string    `json:"quality,omitempty" enum:"not_available,error" doc:"why there is no value, of a J1939 signal (SAE J1939-71); absent: there is one"`
	Raw     *int64    `json:"raw,omitempty" doc:"the integer on the bus; absent: see raw_bits"`
	RawBits *uint64   `json:"raw_bits,omitempty" doc:"what raw cannot hold: the bits of a float, 32 or 64 of them, and unsigned integers from 2^63 on"`
	Text    string    `json:"text,omitempty" doc:"from the value table"`
	Unit    string    `json:"unit,omitempty"`
}

// Point is one value of a signal's short history.
type Point struct {
	Time  time.Time `json:"time"`
	Value Number    `json:"value"`
}

// Boot is the delivery account of one start of a device's agent.
type Boot struct {
	Device     string      `json:"did"`
	Boot       string      `json:"boot"`
	Stored     uint64      `json:"stored" doc:"messages stored, each counted once"`
	Samples    uint64      `json:"samples" doc:"samples in them"`
	Last       uint64      `json:"last" doc:"highest sequence seen"`
	Gaps       [][2]uint64 `json:"gaps" doc:"sequences below last that are on their way or lost: neither stored, evicted nor dead; both ends included"`
	Evicted    [][2]uint64 `json:"evicted" doc:"sequences that the vehicle declared evicted, and that are not stored"`
	Stayed     [][2]uint64 `json:"evicted_stored" doc:"sequences that the vehicle declared evicted, and that are stored: the word that they are was lost on the way"`
	Dead       [][2]uint64 `json:"dead" doc:"sequences among the dead letters"`
	Duplicates uint64      `json:"duplicates" doc:"deliveries that were recognised as duplicates and left out"`
}

// DeadLetter is a stored message that could not be decoded.
type DeadLetter struct {
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"`
	Vehicle  string    `json:"vid"`
	Device   string    `json:"did,omitempty"`
	Boot     string    `json:"boot,omitempty" doc:"of the device, as far as it can be read"`
	Number   uint64    `json:"seq,omitempty" doc:"of the message in its boot, as far as it can be read"`
	Bytes    int       `json:"bytes"`
}

// Health says whether the cloud can do its work.
type Health struct {
	OK       bool              `json:"ok"`
	Version  string            `json:"version"`
	Uptime   float64           `json:"uptime_s"`
	Problems map[string]string `json:"problems,omitempty" doc:"room → what is wrong"`
}

// Event is one sample of a signal.
type Event struct {
	Time    time.Time `json:"time" doc:"source time"`
	Device  string    `json:"did"`
	Bus     string    `json:"bus"`
	Message string    `json:"message"`
	Signal  string    `json:"signal"`
	Value   Number    `json:"value" doc:"null when it is not a number, or there is none: see quality"`
	Quality string    `json:"quality,omitempty" enum:"not_available,error" doc:"why there is no value, of a J1939 signal (SAE J1939-71); absent: there is one"`
	Text    string    `json:"text,omitempty"`
	Unit    string    `json:"unit,omitempty"`
}

// PresenceEvent is a live change of a device's presence.
type PresenceEvent struct {
	Time     time.Time `json:"time"`
	Device   string    `json:"did"`
	Presence string    `json:"presence"`
}

// StorageEvent is a device's word on its data partition: lost, or there again.
type StorageEvent struct {
	Time    time.Time `json:"time"`
	Device  string    `json:"did"`
	Storage string    `json:"storage" enum:"kept,recreated,memory-only"`
	Reason  string    `json:"reason,omitempty"`
}
