package topics_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/topics"
)

// hash is a schema's, as topics spell it.
var hash = protocol.SchemaHash{0x9c, 0x1f, 31: 7}

// tree has one topic of each kind.
var tree = []struct {
	text  string
	topic topics.Topic
	word  string
}{
	{"v1/k7/up/presence/tcu", topics.Topic{Kind: topics.Presence, Vehicle: "k7", Device: "tcu"}, "presence"},
	{"v1/k7/up/checkin/tcu", topics.Topic{Kind: topics.Checkin, Vehicle: "k7", Device: "tcu"}, "checkin"},
	{"v1/k7/up/state", topics.Topic{Kind: topics.State, Vehicle: "k7"}, "state"},
	{"v1/k7/up/event/braking.severe", topics.Topic{Kind: topics.Event, Vehicle: "k7", Name: "braking.severe"}, "event"},
	{"v1/k7/up/telemetry/c-1", topics.Topic{Kind: topics.Telemetry, Vehicle: "k7", Campaign: "c-1"}, "telemetry"},
	{"v1/k7/up/schema/" + hash.String(), topics.Topic{Kind: topics.Schema, Vehicle: "k7", Schema: hash}, "schema"},
	{"v1/k7/up/object/o1", topics.Topic{Kind: topics.Object, Vehicle: "k7", ID: "o1"}, "object"},
	{"v1/k7/up/command/doors.unlock/e1/status", topics.Topic{Kind: topics.CommandStatus, Vehicle: "k7", Name: "doors.unlock", ID: "e1"}, "command"},
	{"v1/k7/up/config/campaigns/status", topics.Topic{Kind: topics.ConfigStatus, Vehicle: "k7", Name: "campaigns"}, "config"},
	{"v1/k7/up/workload/w1/state", topics.Topic{Kind: topics.WorkloadState, Vehicle: "k7", Name: "w1"}, "workload"},
	{"v1/k7/up/update/tcu/feedback", topics.Topic{Kind: topics.UpdateFeedback, Vehicle: "k7", Device: "tcu"}, "update"},
	{"v1/k7/up/security/tcu", topics.Topic{Kind: topics.Security, Vehicle: "k7", Device: "tcu"}, "security"},
	{"v1/k7/up/health/tcu", topics.Topic{Kind: topics.Health, Vehicle: "k7", Device: "tcu"}, "health"},
	{"v1/k7/down/command/doors.unlock/e1/request", topics.Topic{Kind: topics.CommandRequest, Vehicle: "k7", Name: "doors.unlock", ID: "e1"}, "command"},
	{"v1/k7/down/command/doors.unlock/e1/cancel", topics.Topic{Kind: topics.CommandCancel, Vehicle: "k7", Name: "doors.unlock", ID: "e1"}, "command"},
	{"v1/k7/down/config/campaigns", topics.Topic{Kind: topics.Config, Vehicle: "k7", Name: "campaigns"}, "config"},
	{"v1/k7/down/fetch", topics.Topic{Kind: topics.Fetch, Vehicle: "k7"}, "fetch"},
	{"v1/bcast/de/weather/u33", topics.Topic{Kind: topics.Broadcast, Market: "de", Service: "weather", Cell: "u33"}, "bcast"},
	{"v1/ops/config/campaign/c1", topics.Topic{Kind: topics.OpsConfig, Name: "campaign", ID: "c1"}, "ops"},
	{"v1/ops/config/campaign/c1/result", topics.Topic{Kind: topics.OpsResult, Name: "campaign", ID: "c1"}, "ops"},
}

func TestTopics(t *testing.T) {
	seen := map[topics.Kind]bool{}
	for _, c := range tree {
		seen[c.topic.Kind] = true
		if got := c.topic.String(); got != c.text {
			t.Errorf("got %s, want %s", got, c.text)
		}
		if got, err := topics.Parse(c.text); err != nil || got != c.topic {
			t.Errorf("%s: got %+v, %v, want %+v", c.text, got, err, c.topic)
		}
		if got := c.topic.Kind.Word(); got != c.word {
			t.Errorf("%s: got word %s, want %s", c.text, got, c.word)
		}
		up, down := strings.Contains(c.text, "/up/"), strings.Contains(c.text, "/down/")
		if c.topic.Kind.Up() != up || c.topic.Kind.Down() != down {
			t.Errorf("%s: got up %v, down %v", c.text, c.topic.Kind.Up(), c.topic.Kind.Down())
		}
	}
	for k := topics.Presence; k.Word() != "unset"; k++ {
		if !seen[k] {
			t.Errorf("kind %d (%s) is not in the table", k, k.Word())
		}
	}
	for _, k := range []topics.Kind{topics.Unset, 200} {
		if got := (topics.Topic{Kind: k, Vehicle: "k7"}).String(); got != "" || k.Word() != "unset" || k.Up() || k.Down() {
			t.Errorf("kind %d: got %q, want nothing", k, got)
		}
	}
}

func TestBadTopics(t *testing.T) {
	for _, text := range []string{
		"", "/", "v1", "v2/k7/up/state", "V1/k7/up/state", "v1/k7/up", "v1/k7/up/state/", "/v1/k7/up/state", "v1//up/state",
		"v1/k7/up/presence/", "v1/k7/up/presence/+", "v1/+/up/state", "v1/#", "v1/k7/up/schema/" + strings.ToUpper(hash.String()),
		"v1/k7/up/schema/00", "v1/k7/up/event/.hidden", "v1/k7/up/event/a b", "v1/ops/up/state", "v1/app/up/event/x",
		"v1/k7/down/config/a/b", "v1/ops/config/campaign", "v1/ops/config/campaign/c1/result/x", "v1/ops/config/campaign/c1/other",
		"v1/k7/up/event/" + strings.Repeat("x", 65), strings.Repeat("x", 300), strings.Repeat("/", 200), "$SYS/broker", "v1/k\x007/up/state",
	} {
		if got, err := topics.Parse(text); !errors.Is(err, topics.ErrInvalid) || got != (topics.Topic{}) {
			t.Errorf("%q: got %+v, %v, want %v", text, got, err, topics.ErrInvalid)
		}
	}
}

// TestErrorsHideTopics: topics hold identifiers of vehicles, so errors do not repeat them.
func TestErrorsHideTopics(t *testing.T) {
	for _, text := range []string{"v1/WVWZZZ1K/up/nothing", "v1/WVWZZZ1K./up/state", "v1/WVWZZZ1K/up/event/ "} {
		if _, err := topics.Parse(text); err == nil || strings.Contains(err.Error(), "WVWZZZ1K") {
			t.Errorf("got %v, want an error without the vehicle", err)
		}
	}
}

// drawTopic gives any topic whose fields are good.
func drawTopic(t *rapid.T) topics.Topic {
	id := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_-]{0,63}`)
	name := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`)
	kind := rapid.SampledFrom(tree).Draw(t, "kind").topic
	out := topics.Topic{Kind: kind.Kind}
	if kind.Vehicle != "" {
		out.Vehicle = protocol.VehicleID(id.Filter(func(s string) bool {
			_, err := protocol.ParseVehicleID(s)
			return err == nil
		}).Draw(t, "vehicle"))
	}
	if kind.Device != "" {
		out.Device = protocol.DeviceID(id.Draw(t, "device"))
	}
	if kind.Campaign != "" {
		out.Campaign = protocol.CampaignID(id.Draw(t, "campaign"))
	}
	if kind.Schema != (protocol.SchemaHash{}) {
		copy(out.Schema[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "schema"))
	}
	for _, f := range []struct {
		like string
		to   *string
	}{{kind.Name, &out.Name}, {kind.ID, &out.ID}, {kind.Market, &out.Market}, {kind.Service, &out.Service}, {kind.Cell, &out.Cell}} {
		if f.like != "" {
			*f.to = name.Draw(t, "name")
		}
	}
	return out
}

func TestAnyTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawTopic(t)
		text := want.String()
		got, err := topics.Parse(text)
		if err != nil || got != want {
			t.Fatalf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
		if len(text) > topics.MaxLength || strings.Count(text, "/") >= topics.MaxLevels {
			t.Fatalf("%s: beyond the bounds", text)
		}
	})
}

// FuzzTopic: what parses is written back as it was, and parses to the same again.
func FuzzTopic(f *testing.F) {
	for _, c := range tree {
		f.Add(c.text)
	}
	for _, bad := range []string{"", "v1/ops/up/state", "v1/bcast/up/event/x", "v1/k7/up/event/..", "v1/ops/config/a/result", "v1/+/up/#"} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, s string) {
		topic, err := topics.Parse(s)
		if err != nil {
			if !errors.Is(err, topics.ErrInvalid) || topic != (topics.Topic{}) {
				t.Errorf("%q: got %+v, %v", s, topic, err)
			}
			return
		}
		if topic.String() != s {
			t.Errorf("got %q, want %q", topic, s)
		}
		if again, err := topics.Parse(topic.String()); err != nil || again != topic {
			t.Errorf("%q: got %+v, %v again, want %+v", s, again, err, topic)
		}
		if strings.ContainsAny(s, "+#\x00 ") {
			t.Errorf("%q holds what no topic of ours may", s)
		}
	})
}

func BenchmarkParseTopic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := topics.Parse("v1/k7q4mjx2/up/telemetry/severe-braking-eu26"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTopicString(b *testing.B) {
	t := topics.Topic{Kind: topics.Telemetry, Vehicle: "k7q4mjx2", Campaign: "severe-braking-eu26"}
	b.ReportAllocs()
	for b.Loop() {
		_ = t.String()
	}
}

func ExampleParse() {
	t, err := topics.Parse("v1/k7q4/up/telemetry/severe-braking")
	fmt.Println(t.Kind.Word(), t.Vehicle, t.Campaign, t.Kind.Up(), err)
	fmt.Println(topics.Topic{Kind: topics.Config, Vehicle: "k7q4", Name: campaigns.Document})
	// Output:
	// telemetry k7q4 severe-braking true <nil>
	// v1/k7q4/down/config/campaigns
}
