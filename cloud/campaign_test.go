package cloud_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
)

func campaignDoc(id string, revision int, more string) string {
	return fmt.Sprintf("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: %s, revision: %d}\nspec:\n  collect: [{id: all, every: 1s}]\n%s", id, revision, more)
}

// status is a vehicle's word on one campaign.
func status(t *testing.T, id string, revision uint64, state document.State) []byte {
	t.Helper()
	return marshal(t, document.Status{Version: 1, Document: campaigns.Document, Device: "tcu",
		Results: []document.Result{{ID: id, Revision: revision, State: state}}})
}

type result struct {
	ID       string
	Revision uint64
	State    string
	Reason   string
	Detail   string
}

// result waits for the next word on a campaign's result topic.
func (c *client) result(want string) result {
	c.t.Helper()
	for {
		p := c.next(2 * time.Second)
		if !strings.HasSuffix(p.Topic, "/result") {
			continue
		}
		var r result
		if err := json.Unmarshal(p.Payload, &r); err != nil {
			c.t.Fatal(err)
		}
		if r.State != want {
			c.t.Fatalf("got %+v, want %s", r, want)
		}
		return r
	}
}

// set gives the next campaign set that a device gets, which must come within 2 s.
func (c *client) set() campaigns.Set {
	c.t.Helper()
	p := c.next(2 * time.Second)
	var set campaigns.Set
	if err := document.Unmarshal(p.Payload, &set); err != nil {
		c.t.Fatalf("%s: %v", p.Topic, err)
	}
	return set
}

// TestCampaignJourney follows a campaign from the operator to the vehicle and back.
func TestCampaignJourney(t *testing.T) {
	s := start(t, config(t.TempDir()))
	ops, car := s.operator("olga"), s.device("car1", "tcu")
	ops.subscribe("v1/ops/config/campaign/+/result")
	car.subscribe("v1/car1/down/config/+")

	ops.stored("v1/ops/config/campaign/slow", []byte(campaignDoc("slow", 1, "")))
	if set := car.set(); len(set.Campaigns) != 1 || set.Campaigns[0].Spec.Collect[0].Every != "1s" {
		t.Errorf("got %+v, want the campaign", set)
	}
	ops.result("PENDING")
	car.stored("v1/car1/up/config/campaigns/status", status(t, "slow", 1, document.Active), "pr", "CS4")
	if r := ops.result("ACTIVE"); r.ID != "slow" || r.Revision != 1 {
		t.Errorf("got %+v, want revision 1 of slow", r)
	}

	// Pushed while the vehicle is away: it gets the newest when it comes. One that never was here gets it too.
	car.leave()
	ops.stored("v1/ops/config/campaign/slow", []byte(campaignDoc("slow", 2, "")))
	ops.stored("v1/ops/config/campaign/fast", []byte(campaignDoc("fast", 1, "  priority: CS4\n")))
	ops.result("PENDING")
	ops.result("PENDING")
	for _, vid := range []string{"car1", "car2"} {
		c := s.device(vid, "tcu")
		c.subscribe("v1/" + vid + "/down/config/+")
		if set := c.set(); len(set.Campaigns) != 2 || set.Campaigns[0].Metadata.Revision != 2 {
			t.Errorf("%s: got %+v, want both campaigns", vid, set)
		}
	}

	// Who asks later sees how things stand.
	late := s.operator("otto")
	late.subscribe("v1/ops/config/campaign/fast/result")
	if p := late.next(patience); !p.Retain {
		t.Errorf("got %+v, want the result, retained", p)
	}
}

// TestCampaignRefused: what is wrong with a document is said on its result topic, and nothing else happens.
func TestCampaignRefused(t *testing.T) {
	s := start(t, config(t.TempDir()))
	ops, car := s.operator("olga"), s.device("car1", "tcu")
	ops.subscribe("v1/ops/config/campaign/+/result")
	car.subscribe("v1/car1/down/config/+")
	for _, bad := range []string{"no campaign", campaignDoc("other", 1, ""), strings.Repeat("#", document.MaxInline+1)} {
		ops.stored("v1/ops/config/campaign/slow", []byte(bad))
		if r := ops.result("REJECTED"); r.Reason == "" || r.Detail == "" || strings.Contains(r.Detail, "\n") {
			t.Errorf("got %+v, want a reason in one line", r)
		}
	}
	if code := ops.send("v1/ops/config/policy/p", []byte("x")); code != 0x90 {
		t.Errorf("another document: got PUBACK 0x%02X, want 0x90", code)
	}
	select {
	case p := <-car.received:
		t.Errorf("got %s, want nothing for the vehicle", p.Topic)
	case <-time.After(200 * time.Millisecond):
	}
}

// TestPushesInOrder: documents that an operator publishes without waiting are taken in that order.
func TestPushesInOrder(t *testing.T) {
	s := start(t, config(t.TempDir()))
	ops := s.operator("olga")
	ops.subscribe("v1/ops/config/campaign/c/result")
	const pushes = 20
	for i := range pushes {
		p := &paho.Publish{Topic: "v1/ops/config/campaign/c", QoS: 1, Payload: []byte(campaignDoc("c", i+1, ""))}
		if _, err := ops.PublishWithOptions(t.Context(), p, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range pushes {
		if r := ops.result("PENDING"); r.Revision != uint64(i+1) {
			t.Fatalf("got revision %d, want %d", r.Revision, i+1)
		}
	}
}

// TestRepliesOfPushes: two operators push at the same campaign, and each learns what became of its own push.
func TestRepliesOfPushes(t *testing.T) {
	s := start(t, config(t.TempDir()))
	olga, otto := s.operator("olga"), s.operator("otto")
	olga.subscribe("v1/ops/reply/olga/#")
	otto.subscribe("v1/ops/reply/otto/#")
	push := func(c *client, reply, data, doc string) byte {
		t.Helper()
		ack, err := c.Publish(t.Context(), &paho.Publish{Topic: "v1/ops/config/campaign/c", QoS: 1, Payload: []byte(doc),
			Properties: &paho.PublishProperties{ResponseTopic: reply, CorrelationData: []byte(data)}})
		if ack == nil {
			t.Fatal(err)
		}
		return ack.ReasonCode
	}
	answer := func(c *client, data, state string, revision uint64) {
		t.Helper()
		p := c.next(patience)
		var r result
		if err := json.Unmarshal(p.Payload, &r); err != nil {
			t.Fatal(err)
		}
		if string(p.Properties.CorrelationData) != data || r.State != state || r.Revision != revision || p.Retain {
			t.Errorf("got %s %+v with %q, want %s of %d with %q", p.Topic, r, p.Properties.CorrelationData, state, revision, data)
		}
	}
	push(olga, "v1/ops/reply/olga/pushes", "one", campaignDoc("c", 1, ""))
	answer(olga, "one", "PENDING", 1)
	push(otto, "v1/ops/reply/otto", "two", campaignDoc("c", 2, "  colour: red\n"))
	answer(otto, "two", "REJECTED", 2)
	push(otto, "v1/ops/reply/otto", "three", "")
	answer(otto, "three", "REJECTED", 0)
	s.device("car1", "tcu").stored("v1/car1/up/config/campaigns/status", status(t, "c", 1, document.Active), "pr", "CS4")
	answer(olga, "one", "ACTIVE", 1)
	if code := push(otto, "v1/ops/reply/olga/pushes", "four", campaignDoc("c", 3, "")); code != 0x87 {
		t.Errorf("reply to another operator: got PUBACK 0x%02X, want 0x87", code)
	}

	// Who comes later sees what is in force, and that a push was refused.
	late := s.operator("lena")
	late.subscribe("v1/ops/config/campaign/+/result")
	var kept struct {
		result
		Refused result
	}
	p := late.next(patience)
	if err := json.Unmarshal(p.Payload, &kept); err != nil || kept.State != "ACTIVE" || kept.Revision != 1 || kept.Refused.Reason != "VALIDATION_FAILED" {
		t.Errorf("got %s, %v, want revision 1 ACTIVE and the refusal", p.Payload, err)
	}

	// The API says the same.
	var list []struct {
		result
		Summary string
		Refused *result
	}
	s.get("/v1/campaigns", &list)
	if len(list) != 1 || list[0].Summary != "1 ACTIVE" || list[0].Refused == nil {
		t.Errorf("got %+v, want the same over HTTP", list)
	}
}
