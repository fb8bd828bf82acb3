package cloud_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/cloud/update"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// read is a message that a vehicle sends, and where it must be found afterwards.
type read struct {
	payload    []byte
	properties []string
	found      func() (ok bool)
}

// readers has a message for each topic that is read, of each kind of topic.
func readers(t *testing.T, s *stage) map[string]read {
	m := newTelemetry(t, "c")
	var (
		device   []device
		firmware update.Firmware
		signals  []struct{}
		campaign []struct{ Vehicles map[string]int }
	)
	return map[string]read{
		"v1/car1/up/presence/tcu": {
			payload: presence(t, "tcu", protocol.PresenceOnline),
			found: func() bool {
				s.get("/v1/vehicles/car1/presence", &device)
				return len(device) == 1 && device[0].Presence == "online"
			},
		},
		m.schemaTopic("car1"): {
			payload: m.doc,
			found:   func() bool { return s.get("/v1/schemas/"+m.hash.ID().String(), nil) == 200 },
		},
		m.topic("car1"): {
			payload:    m.batch("tcu", 1, time.Now(), 5000, 3),
			properties: []string{"id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: 1}.String()},
			found:      func() bool { s.get("/v1/vehicles/car1/state", &signals); return len(signals) == 2 },
		},
		"v1/car1/up/config/campaigns/status": {
			payload: status(t, "c", 1, document.Active),
			found: func() bool {
				s.get("/v1/campaigns", &campaign)
				return len(campaign) == 1 && campaign[0].Vehicles["ACTIVE"] == 1
			},
		},
		"v1/car1/up/update/tcu/feedback": {
			payload: marshal(t, updates.Feedback{Version: 1, Device: "tcu", Running: updates.Running{Version: "7.3", Slot: "A"}}),
			found: func() bool {
				s.get("/v1/vehicles/car1/update", &firmware)
				return len(firmware.Devices) == 1 && firmware.Devices[0].Version == "7.3"
			},
		},
		"v1/car1/up/event/storage": {
			payload: marshal(t, events.Storage{Version: 1, Device: "tcu", State: events.StorageMemoryOnly, Loss: "x"}),
			found: func() bool {
				s.get("/v1/vehicles/car1/presence", &device)
				return len(device) == 1 && device[0].Loss != nil
			},
		},
	}
}

// TestEveryKindIsReadOrRefused: what is acknowledged is found where it is read; of all else the vehicle hears that
// nobody would read it.
func TestEveryKindIsReadOrRefused(t *testing.T) {
	s := start(t, config(t.TempDir()))
	s.operator("olga").stored("v1/ops/config/campaign/c", []byte(campaignDoc("c", 1, "")))
	car := s.device("car1", "tcu")
	known := readers(t, s)
	var all []string
	for topic := range known { // sorted, a schema comes before its batch
		all = append(all, topic)
	}
	slices.Sort(all)
	for kind := topics.Presence; kind.Up(); kind++ {
		// Names that no room has heard of.
		topic := topics.Topic{Kind: kind, Vehicle: "car1", Device: "tcu", Campaign: "c", Name: "made.up", ID: "x"}
		if text := topic.String(); !slices.Contains(all, text) && kind != topics.Schema {
			all = append(all, text)
		}
	}
	kinds := map[topics.Kind]bool{}
	for _, text := range all {
		topic, err := topics.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		kinds[topic.Kind] = true
		message, readable := known[text]
		p := &paho.Publish{Topic: text, QoS: 1, Payload: message.payload, Properties: &paho.PublishProperties{}}
		for i := 0; i+1 < len(message.properties); i += 2 {
			p.Properties.User.Add(message.properties[i], message.properties[i+1])
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ack, err := car.Publish(ctx, p)
		cancel()
		switch {
		case ack == nil:
			t.Fatalf("%s: %v", text, err)
		case ack.ReasonCode >= 0x80 && readable:
			t.Errorf("%s: got PUBACK 0x%02X %q, want it taken", text, ack.ReasonCode, ack.Properties.ReasonString)
		case ack.ReasonCode >= 0x80:
			if ack.ReasonCode != 0x90 || !strings.HasPrefix(ack.Properties.ReasonString, "no reader: ") {
				t.Errorf("%s: got PUBACK 0x%02X %q, want 0x90 and that there is no reader", text, ack.ReasonCode, ack.Properties.ReasonString)
			}
		case !readable:
			t.Errorf("%s: acknowledged, and this test knows of no reader", text)
		default:
			s.eventually(func() string {
				if !message.found() {
					return fmt.Sprintf("%s: acknowledged, and not found by its reader", text)
				}
				return ""
			})
		}
	}
	for kind := topics.Presence; kind.Up(); kind++ {
		if !kinds[kind] {
			t.Errorf("kind %s was not tried", kind.Word())
		}
	}
}
