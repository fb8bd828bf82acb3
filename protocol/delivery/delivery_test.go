package delivery_test

import (
	"fmt"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/delivery"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// rows gives each policy in one line, written a second time by hand.
var rows = []struct {
	topic topics.Topic
	want  string // default ceiling lifetime ordered QoS retained where
}{
	{topics.Topic{Kind: topics.Presence}, "CS2 CS2 0s false 1 true 4"},
	{topics.Topic{Kind: topics.Checkin}, "CS2 CS2 1h0m0s false 1 false 2"},
	{topics.Topic{Kind: topics.State}, "CS3 CS3 10m0s false 1 false 2"},
	{topics.Topic{Kind: topics.Event, Name: "braking.severe"}, "CS5 CS5 168h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Event, Name: "crash"}, "CS6 CS6 168h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Event, Name: "crash.rollover"}, "CS6 CS6 168h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Event, Name: "crashed"}, "CS5 CS5 168h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Event, Name: "storage"}, "CS5 CS5 0s true 1 false 3"},
	{topics.Topic{Kind: topics.Telemetry}, "CS1 CS5 720h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Schema}, "CS1 CS5 0s false 1 false 4"},
	{topics.Topic{Kind: topics.Object}, "CS1 CS5 720h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.CommandStatus}, "CS4 CS4 24h0m0s true 1 false 3"},
	{topics.Topic{Kind: topics.ConfigStatus}, "CS4 CS4 24h0m0s true 1 false 3"},
	{topics.Topic{Kind: topics.WorkloadState}, "CS4 CS4 24h0m0s true 1 false 3"},
	{topics.Topic{Kind: topics.UpdateFeedback}, "CS4 CS4 0s true 1 false 3"},
	{topics.Topic{Kind: topics.Security}, "CS5 CS5 720h0m0s false 1 false 3"},
	{topics.Topic{Kind: topics.Health}, "CS1 CS1 5m0s false 0 false 1"},
	{topics.Topic{Kind: topics.CommandRequest}, "CS4 CS4 0s false 1 false 0"},
	{topics.Topic{Kind: topics.CommandCancel}, "CS4 CS4 0s false 1 false 0"},
	{topics.Topic{Kind: topics.Config, Name: "campaigns"}, "CS2 CS2 0s false 1 true 0"},
	{topics.Topic{Kind: topics.Fetch}, "CS2 CS2 0s false 1 false 0"},
	{topics.Topic{Kind: topics.Broadcast}, "CS1 CS5 0s false 1 false 0"},
	{topics.Topic{Kind: topics.OpsConfig}, "CS2 CS2 0s false 1 false 0"},
	{topics.Topic{Kind: topics.OpsResult}, "CS2 CS2 0s false 1 true 0"},
}

func TestTable(t *testing.T) {
	seen := map[topics.Kind]bool{}
	for _, r := range rows {
		seen[r.topic.Kind] = true
		p := delivery.Of(r.topic)
		got := fmt.Sprint(p.Default, p.Ceiling, " ", p.Lifetime(p.Default), p.Ordered, p.QoS, p.Retained, p.Wait)
		if want := r.want; got != want {
			t.Errorf("%s %s: got %q, want %q", r.topic.Kind.Word(), r.topic.Name, got, want)
		}
	}
	for k := topics.Presence; k.Word() != "unset"; k++ {
		if !seen[k] {
			t.Errorf("kind %d (%s) is not in the table", k, k.Word())
		}
		p := delivery.Of(topics.Topic{Kind: k})
		if p.Default < protocol.CS0 || p.Ceiling < p.Default || p.Ceiling > protocol.CS6 || p.QoS > 1 {
			t.Errorf("%s: got %+v, want a class at or below a ceiling, and QoS 0 or 1", k.Word(), p)
		}
		if sent := p.Wait != delivery.NotSent; sent != k.Up() {
			t.Errorf("%s: sent by vehicles: got %v, want %v", k.Word(), sent, k.Up())
		}
		if p.Wait == delivery.Buffer && p.QoS == 0 {
			t.Errorf("%s: waits on disk for an acknowledgement that QoS 0 does not have", k.Word())
		}
	}
	for _, unknown := range []topics.Kind{topics.Unset, 200} {
		if got := delivery.Of(topics.Topic{Kind: unknown}); got != (delivery.Policy{}) {
			t.Errorf("kind %d: got %+v, want none", unknown, got)
		}
	}
}

func TestClass(t *testing.T) {
	telemetry := delivery.Of(topics.Topic{Kind: topics.Telemetry})
	health := delivery.Of(topics.Topic{Kind: topics.Health})
	for _, c := range []struct {
		p           delivery.Policy
		asked, want protocol.Priority
	}{
		{telemetry, protocol.PriorityUnset, protocol.CS1},
		{telemetry, protocol.CS0, protocol.CS0},
		{telemetry, protocol.CS5, protocol.CS5},
		{telemetry, protocol.CS6, protocol.CS5},
		{telemetry, 200, protocol.CS1},
		{health, protocol.CS6, protocol.CS1},
		{delivery.Policy{}, protocol.CS6, protocol.PriorityUnset},
	} {
		if got := c.p.Class(c.asked); got != c.want {
			t.Errorf("asked for %v: got %v, want %v", c.asked, got, c.want)
		}
	}
	if got := telemetry.Lifetime(protocol.CS3); got != 24*time.Hour {
		t.Errorf("hot telemetry: got %v, want a day", got)
	}
}

// TestContentTypes: each kind that has one form of payload says which.
func TestContentTypes(t *testing.T) {
	for _, c := range []struct {
		topic topics.Topic
		want  string
	}{
		{topics.Topic{Kind: topics.Config, Name: campaigns.Document}, protocol.ContentCampaigns},
		{topics.Topic{Kind: topics.Config, Name: updates.Document}, protocol.ContentUpdate},
		{topics.Topic{Kind: topics.Config, Name: "other"}, ""},
		{topics.Topic{Kind: topics.Event, Name: events.TypeStorage}, protocol.ContentStorage},
		{topics.Topic{Kind: topics.UpdateFeedback}, protocol.ContentFeedback},
		{topics.Topic{Kind: topics.ConfigStatus}, protocol.ContentStatus},
	} {
		if got := delivery.Of(c.topic).ContentType; got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.topic.Kind.Word(), c.topic.Name, got, c.want)
		}
	}
}
