package agent_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent"
	"telltale.dev/agent/buffer"
	"telltale.dev/agent/config"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol"
)

// TestSchemasArePruned: at the start the schemas of what waits stay, also of a batch that was open, and so do those of the campaigns in force.
func TestSchemasArePruned(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "agent")
	schemas, err := config.OpenSchemas(filepath.Join(data, "schemas"))
	if err != nil {
		t.Fatal(err)
	}
	var hashes []protocol.SchemaHash
	for _, doc := range []string{"of a batch", "of an open batch", "of one that was acknowledged", "of nobody"} {
		h := protocol.SchemaHash(sha256.Sum256([]byte(doc)))
		if err := schemas.Save(h, []byte(doc)); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h)
	}
	b, err := buffer.Open(buffer.Config{Dir: filepath.Join(data, "buffer")})
	if err != nil {
		t.Fatal(err)
	}
	of := func(seq uint64) buffer.Record {
		return buffer.Record{
			Topic: "v1/car/up/telemetry/c", Priority: protocol.CS1, ID: protocol.MessageID{Device: "tcu", Seq: seq}, Schema: hashes[seq-1], Payload: []byte("x"),
		}
	}
	if err := b.Commit([]buffer.Record{of(1), of(3)}, []buffer.Record{of(2)}, buffer.Progress{}); err != nil {
		t.Fatal(err)
	}
	if got := b.Schemas(); len(got) != 3 || got[hashes[3]] {
		t.Errorf("got %d schemas in use, want 3", len(got))
	}
	b.Ack(buffer.Position{Class: protocol.CS1, Segment: 1, Index: 1})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

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
	for i, h := range hashes {
		if _, there := schemas.Schema(h); there != (i < 2) {
			t.Errorf("schema %d: there %v, want it %v", i+1, there, i < 2)
		}
	}
	files, err := os.ReadDir(filepath.Join(data, "schemas"))
	if err != nil || len(files) != 3 {
		t.Errorf("got %d files, %v, want those of the backlog and of the campaign in force", len(files), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}
