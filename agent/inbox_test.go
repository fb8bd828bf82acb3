package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/agent"
	"telltale.dev/agent/link/downlink"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// TestDocumentOfBeforeTheCrash: a document that was acknowledged before a crash, and into which nobody had looked,
// is in force after the next start, without a connection.
func TestDocumentOfBeforeTheCrash(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "agent")
	c := campaigns.Everything()
	c.Metadata.ID, c.Metadata.Revision = "kept", 7
	doc, err := document.Marshal(campaigns.Set{Version: 1, Revision: 7, Campaigns: []campaigns.Campaign{c}})
	if err != nil {
		t.Fatal(err)
	}
	leave(t, filepath.Join(data, "inbox"), topics.Topic{Kind: topics.Config, Vehicle: "car", Name: campaigns.Document}, doc)

	hub, err := virtual.Listen(filepath.Join(dir, "hub"), virtual.Config{Buses: []string{"can0", "can1"}})
	if err != nil {
		t.Fatal(err)
	}
	hubCtx, stopHub := context.WithCancel(context.Background())
	hubEnded := make(chan struct{})
	go func() { _ = hub.Run(hubCtx); close(hubEnded) }()
	defer func() { stopHub(); <-hubEnded }()
	a, err := agent.New(configOf(t, data, hub))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	wait(t, func() bool {
		left, err := os.ReadDir(filepath.Join(data, "inbox"))
		return err == nil && len(left) == 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	kept, err := os.ReadFile(filepath.Join(data, "campaigns.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	var set campaigns.Set
	if err := document.Unmarshal(kept, &set); err != nil || set.Revision != 7 || len(set.Campaigns) != 1 || set.Campaigns[0].Metadata.ID != "kept" {
		t.Errorf("got %+v, %v, want the document in force", set, err)
	}
}

// leave puts a message into an inbox as an agent does that is killed before it looks.
func leave(t *testing.T, inbox string, topic topics.Topic, payload []byte) {
	t.Helper()
	d, err := downlink.Open(downlink.Config{Dir: inbox, Vehicle: "car", Routes: []downlink.Route{{
		Kind: topics.Config, Take: func(ctx context.Context, _ downlink.Message) { <-ctx.Done() },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	answer := make(chan error, 1)
	d.Receive(downlink.Arrival{
		Message: downlink.Message{Topic: topic, Payload: payload, QoS: 1, Received: time.Now()},
		Answer: func(code byte, reason string) {
			if code != downlink.CodeTaken {
				answer <- errors.New(reason)
			}
			close(answer)
		},
	}, nil)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
}
