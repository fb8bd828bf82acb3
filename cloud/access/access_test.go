package access_test

import (
	"fmt"
	"strings"
	"testing"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/principal"
)

var (
	device   = principal.OfDevice("v", "d")
	operator = principal.OfOperator("anna")
	service  = principal.Principal{Kind: principal.Service, Name: "weather"}
	local    = principal.Principal{Kind: principal.Local}
)

// verbs are all of them, with a word for failures.
var verbs = map[access.Verb]string{
	access.Connect: "connect", access.Will: "will", access.Publish: "publish", access.Reply: "reply", access.Subscribe: "subscribe",
	access.Deliver: "deliver", access.Download: "download", access.Read: "read", access.Change: "change",
}

// TestDecisions is what the table means, written a second time by hand.
func TestDecisions(t *testing.T) {
	const yes, no, unread = access.Allow, access.Refuse, access.Unread
	for _, c := range []struct {
		who    principal.Principal
		verb   access.Verb
		object string
		want   access.Answer
	}{
		{device, access.Connect, "d", yes}, {device, access.Connect, "e", no}, {device, access.Connect, "", no},
		{operator, access.Connect, "any/thing#", yes}, {operator, access.Connect, "", yes},
		{service, access.Connect, "weather", no}, {local, access.Connect, "", no}, {principal.Principal{}, access.Connect, "", no},
		{principal.Principal{Kind: 200}, access.Connect, "", no},

		{device, access.Will, "v1/v/up/presence/d", yes}, {device, access.Will, "v1/v/up/presence/e", no},
		{device, access.Will, "v1/w/up/presence/d", no}, {device, access.Will, "v1/v/up/health/d", no},
		{operator, access.Will, "v1/v/up/presence/d", no}, {operator, access.Will, "v1/ops/reply/anna", no},

		{device, access.Publish, "v1/v/up/telemetry/c", yes}, {device, access.Publish, "v1/v/up/telemetry/+", no},
		{device, access.Publish, "v1/v/up/telemetry/#", no}, {device, access.Publish, "v1/v/up/telemetry", no},
		{device, access.Publish, "v1/v/up/telemetry/c/d", no}, {device, access.Publish, "v1/w/up/telemetry/c", no},
		{device, access.Publish, "v1//up/telemetry/c", no}, {device, access.Publish, "/v1/v/up/telemetry/c", no},
		{device, access.Publish, "v1/v/up/event/storage", yes}, {device, access.Publish, "v1/v/up/event/storage.", unread},
		{device, access.Publish, "v1/v/up/event/braking.severe", unread}, {device, access.Publish, "v1/w/up/event/braking.severe", no},
		{device, access.Publish, "v1/v/up/config/campaigns/status", yes}, {device, access.Publish, "v1/v/up/config/profile/status", unread},
		{device, access.Publish, "v1/v/down/config/campaigns", no}, {device, access.Publish, "v1/ops/config/campaign/c", no},
		{device, access.Publish, "v1/bcast/de/weather/u33", no}, {device, access.Publish, "v1/ops/reply/d", no},
		{operator, access.Publish, "v1/ops/config/campaign/c", yes}, {operator, access.Publish, "v1/ops/config/policy/p", unread},
		{operator, access.Publish, "v1/ops/config/campaign/c/result", no}, {operator, access.Publish, "v1/v/up/telemetry/c", no},
		{operator, access.Publish, "v1/v/down/config/campaigns", no}, {operator, access.Publish, "v1/ops/reply/anna", no},

		{device, access.Subscribe, "v1/v/down/config/+", yes}, {device, access.Subscribe, "v1/v/down/config/campaigns", yes},
		{device, access.Subscribe, "v1/v/down/config/#", no}, {device, access.Subscribe, "v1/v/down/#", no},
		{device, access.Subscribe, "v1/+/down/config/+", no}, {device, access.Subscribe, "+/v/down/fetch", no},
		{device, access.Subscribe, "v1/v/down/command/+/+/request", no}, {device, access.Subscribe, "#", no},
		{operator, access.Subscribe, "v1/ops/#", yes}, {operator, access.Subscribe, "v1/+/up/#", yes}, {operator, access.Subscribe, "v1/+/up", yes},
		{operator, access.Subscribe, "v1/v/down/config/+", yes}, {operator, access.Subscribe, "v1/+/+/#", no}, {operator, access.Subscribe, "v1/#", no},
		{operator, access.Subscribe, "v1/ops/reply/anna/#", yes}, {operator, access.Subscribe, "v1/ops/reply/+", no},
		{operator, access.Subscribe, "v1/ops/reply", no}, {operator, access.Subscribe, "v1/bcast/#", no}, {operator, access.Subscribe, "$SYS/#", no},

		{device, access.Deliver, "v1/v/down/config/update", yes}, {device, access.Deliver, "v1/w/down/config/update", no},
		{operator, access.Deliver, "v1/ops/reply/anna/7", yes}, {operator, access.Deliver, "v1/ops/reply/ben/7", no},
		{operator, access.Deliver, "v1/ops/config/campaign/c/result", yes}, {operator, access.Deliver, "v1/v/up/event/crash", yes},
		{operator, access.Reply, "v1/ops/reply/anna", yes}, {operator, access.Reply, "v1/ops/reply/ben", no},
		{operator, access.Reply, "v1/ops/config/campaign/c", no}, {operator, access.Reply, "v1/ops/reply/anna/#", no},

		{device, access.Download, updates.DownloadPrefix + "00", yes}, {device, access.Download, "/v1/files/", yes}, {device, access.Download, "/v1/vehicles", no},
		{operator, access.Download, updates.DownloadPrefix + "00", no}, {local, access.Download, updates.DownloadPrefix + "00", no},
		{local, access.Read, "/v1/vehicles", yes}, {local, access.Change, "/v1/vehicles/v", yes},
		{device, access.Read, "/v1/vehicles/v", no}, {operator, access.Change, "/v1/vehicles/v", no},
	} {
		if got := access.Decide(c.who, c.verb, c.object); got.Answer != c.want {
			t.Errorf("%s %s %q: got %+v, want answer %d", c.who.Kind, verbs[c.verb], c.object, got, c.want)
		}
	}
}

// object fills a pattern.
func object(pattern string, p principal.Principal) string {
	return strings.NewReplacer("{vid}", string(p.Vehicle), "{did}", string(p.Device), "{name}", p.Name, "+", "x1", "#", "x2").Replace(pattern)
}

// example is a principal of a kind.
func example(kind principal.Kind) principal.Principal {
	return map[principal.Kind]principal.Principal{
		principal.Device: device, principal.Operator: operator, principal.Service: service, principal.Local: local,
	}[kind]
}

// TestEachRule: every rule decides about something, for its verbs only, and for nobody's vehicle, device or name but its own.
func TestEachRule(t *testing.T) {
	for _, rule := range access.Rules() {
		p := example(rule.Who)
		for verb, word := range verbs {
			name := fmt.Sprintf("%s %s %s", rule.Who, word, rule.On)
			got := access.Decide(p, verb, object(rule.On, p))
			if about := rule.May&verb != 0; about && *got != rule {
				t.Errorf("%s: got %+v, want %+v", name, got, rule)
			} else if !about && *got == rule {
				t.Errorf("%s: a rule for other verbs decides", name)
			}
			for what, foreign := range strangers(p) {
				if own := object(rule.On, p); object(rule.On, foreign) == own {
					continue // nothing of the principal is in it
				}
				if got := access.Decide(p, verb, object(rule.On, foreign)); got.Answer == access.Allow && got.On == rule.On {
					t.Errorf("%s: allowed on that of another %s", name, what)
				}
			}
		}
		if rule.Answer != access.Allow && rule.Why == "" || len(rule.Why) > 256 {
			t.Errorf("%s %s: a reason of %d bytes, expected 1 to 256", rule.Who, rule.On, len(rule.Why))
		}
		if rule.Answer == access.Allow && rule.May&access.Publish != 0 && rule.Why == "" {
			t.Errorf("%s %s: allowed without a reader", rule.Who, rule.On)
		}
	}
}

// strangers are like p but for one of its names.
func strangers(p principal.Principal) map[string]principal.Principal {
	vehicle, device, name := p, p, p
	vehicle.Vehicle, device.Device, name.Name = "foreign", "foreign", "foreign"
	return map[string]principal.Principal{"vehicle": vehicle, "device": device, "name": name}
}

// TestForeignVehicle: nothing of a vehicle is anything to a device of another one, whatever the rule and verb.
func TestForeignVehicle(t *testing.T) {
	other := principal.OfDevice("w", "d")
	for _, rule := range access.Rules() {
		if !strings.Contains(rule.On, "{vid}") {
			continue
		}
		for verb, word := range verbs {
			if got := access.Decide(other, verb, object(rule.On, device)); got.Allowed() || got.Answer == access.Unread {
				t.Errorf("%s %s: got %+v for a device of another vehicle", word, rule.On, got)
			}
		}
	}
}

// TestEveryKindHasARow: whatever a vehicle may have to say is either read, or refused for a reason that says so.
func TestEveryKindHasARow(t *testing.T) {
	for kind := topics.Presence; kind.Up(); kind++ {
		topic := topics.Topic{Kind: kind, Vehicle: "v", Device: "d", Campaign: "c", Name: "n", ID: "i"}
		rule := access.Decide(device, access.Publish, topic.String())
		if rule.Answer == access.Refuse {
			t.Errorf("%s: no row of the table is about it", kind.Word())
		}
		if rule.Answer == access.Unread && !strings.HasPrefix(rule.Reason(), "no reader: ") {
			t.Errorf("%s: refused because %q", kind.Word(), rule.Reason())
		}
	}
}

// FuzzDecide: a device gets nothing outside its own vehicle, nobody the answers to another
// operator; what one may subscribe is nothing that no message of could be delivered.
func FuzzDecide(f *testing.F) {
	for _, rule := range access.Rules() {
		f.Add(object(rule.On, example(rule.Who)))
		f.Add(rule.On)
	}
	f.Add("v1/v/down/config/\x00")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range []principal.Principal{device, operator, service, local, {}} {
			for verb, word := range verbs {
				rule := access.Decide(p, verb, s)
				if again := access.Decide(p, verb, s); again != rule {
					t.Errorf("%s %q: decided by %+v and %+v", word, s, rule, again)
				}
				if !rule.Allowed() {
					continue
				}
				levels := strings.Split(s, "/")
				topic := verb&(access.Will|access.Publish|access.Reply|access.Deliver) != 0
				switch {
				case topic && strings.ContainsAny(s, "+#\x00"):
					t.Errorf("%s %s %q: allowed on a topic with a wildcard", p.Kind, word, s)
				case p.Kind == principal.Device && (topic || verb == access.Subscribe) && (len(levels) < 4 || levels[1] != "v" || strings.Contains(s, "#")):
					t.Errorf("device %s %q: allowed outside its vehicle", word, s)
				case p.Kind == principal.Operator && (topic || verb == access.Subscribe) && len(levels) > 3 &&
					levels[1] == "ops" && levels[2] == "reply" && levels[3] != "anna":
					t.Errorf("operator %s %q: allowed on the answers to another one", word, s)
				case p.Kind != principal.Device && p.Kind != principal.Operator && p.Kind != principal.Local:
					t.Errorf("%s %s %q: allowed", p.Kind, word, s)
				}
			}
		}
	})
}

// FuzzCovers compares the walk over levels with a plain one.
func FuzzCovers(f *testing.F) {
	for _, c := range [][2]string{{"v1/+/up/#", "v1/x/up"}, {"#", ""}, {"+", ""}, {"a/{vid}", "a/v"}, {"a/#", "a/b/c"}, {"a/+", "a/#"}, {"{did}", "d"}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if i := strings.Index(pattern, "#"); i >= 0 && i < len(pattern)-1 {
			return // # is the last level
		}
		if want := plain(strings.Split(pattern, "/"), strings.Split(s, "/")); access.Covers(pattern, s, &device) != want {
			t.Errorf("%q on %q: want %v", pattern, s, want)
		}
	})
}

func plain(pattern, levels []string) bool {
	if len(pattern) > 0 && pattern[0] == "#" {
		return true
	}
	if len(pattern) == 0 || len(levels) == 0 {
		return len(pattern) == len(levels)
	}
	own := map[string]string{"{vid}": "v", "{did}": "d", "{name}": ""}
	mine, placeholder := own[pattern[0]]
	switch {
	case placeholder && (mine == "" || mine != levels[0]), !placeholder && pattern[0] != "+" && pattern[0] != levels[0], pattern[0] == "+" && levels[0] == "#":
		return false
	}
	return plain(pattern[1:], levels[1:])
}

func BenchmarkDecide(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !access.Decide(device, access.Publish, "v1/v/up/telemetry/severe-braking-eu26").Allowed() {
			b.Fatal("refused")
		}
	}
}

func ExampleDecide() {
	car := principal.OfDevice("k7q4", "tcu-a")
	for _, topic := range []string{"v1/k7q4/up/telemetry/c", "v1/k7q4/up/event/crash", "v1/other/up/telemetry/c"} {
		rule := access.Decide(car, access.Publish, topic)
		fmt.Println(rule.Allowed(), rule.Why)
	}
	// Output:
	// true lake, state and live events
	// false no reader: of events only those of type storage are taken
	// false not for this client
}
