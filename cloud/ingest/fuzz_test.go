package ingest_test

import (
	"context"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
)

// nowhere is a lake that keeps nothing but a count of batches.
type nowhere struct{ batches, commits int }

func (l *nowhere) Append(protocol.VehicleID, protocol.CampaignID, string, time.Time, *schemas.Schema, *batches.Batch) error {
	l.batches++
	return nil
}
func (l *nowhere) Commit(uint64, uint64, []byte) error        { l.commits++; return nil }
func (l *nowhere) Fits(*schemas.Schema, *batches.Batch) error { return nil }

func (l *nowhere) Checkpoint() (uint64, [][]byte, error) { return 0, nil, nil }

// FuzzMessage: whatever a message says, it is stored or dead-lettered, and the next one is stored.
func FuzzMessage(f *testing.F) {
	k := newMaker(f)
	good := k.payload(3)
	f.Add(good, "v1/car1/up/telemetry/everything", "tcu1", k.id(3).String())
	f.Add(good[:20], "v1/car1/up/telemetry/everything", "tcu1", "")
	f.Add([]byte{}, "v1/car1/up/event/crash", "tcu1", k.id(9).String())
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0}, "", "", "%zz")
	store := &schemaStore{}
	if err := store.PutSchema(f.Context(), k.hash, k.doc); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, topic, device, property string) {
		k := *k
		k.tb = t
		up, dead, l := newMemory(), newMemory(), &nowhere{}
		m := k.message(payload, property)
		m.Header[ingest.HeaderTopic], m.Header[ingest.HeaderDevice] = topic, device
		up.Publish(m, func(uint64, error) {})
		k.send(up, 1000)
		told := &sink{}
		p, err := ingest.NewProcessor(ingest.ProcessorConfig{
			Name: "UP", Stream: up, Publisher: dead, Schemas: store, Lake: l, Consumers: []ingest.Consumer{{Name: "told", Word: told.Receive}}, Checkpoints: &places{},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		err = p.Flush(ctx)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		stored, letters := l.batches-1+len(told.others), len(dead.all())
		if err != nil || l.commits == 0 || stored+letters+int(p.Stats().Duplicates) != 1 {
			t.Fatalf("got %v, %d stored, %d dead letters, %d commits; want one of the two, and the next message stored", err, stored, letters, l.commits)
		}
	})
}
