package api

import (
	"time"

	"telltale.dev/cloud/backbone"
)

// Health says whether the cloud can do its work.
type Health struct {
	OK       bool              `json:"ok"`
	Version  string            `json:"version"`
	Uptime   float64           `json:"uptime_s"`
	Problems map[string]string `json:"problems,omitempty" doc:"room → what is wrong"`
}

// Event is one sample of a signal.
type Event struct {
	Time    time.Time       `json:"time" doc:"source time"`
	Device  string          `json:"did"`
	Bus     string          `json:"bus"`
	Message string          `json:"message"`
	Signal  string          `json:"signal"`
	Value   backbone.Number `json:"value" doc:"null when it is not a number, or there is none: see quality"`
	Quality string          `json:"quality,omitempty" enum:"not_available,error" doc:"why there is no value, of a J1939 signal (SAE J1939-71); absent: there is one"`
	Text    string          `json:"text,omitempty"`
	Unit    string          `json:"unit,omitempty"`
}

// PresenceEvent is a live change of a device's presence.
type PresenceEvent struct {
	Time     time.Time `json:"time"`
	Device   string    `json:"did"`
	Presence string    `json:"presence"`
}
