package cloud_test

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol/topics"
)

// TestSchemasOfOneVehicle: one vehicle can bring only so many new documents, also over a
// restart; others can bring theirs, and it may go on with those that are there.
func TestSchemasOfOneVehicle(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	random := rand.NewChaCha8([32]byte{1})
	document := func() (topic string, doc []byte) {
		doc = make([]byte, 200<<10)
		_, _ = random.Read(doc)
		t := topics.Topic{Kind: topics.Schema, Vehicle: "car1", Schema: sha256.Sum256(doc)}
		return t.String(), doc
	}
	car := s.device("car1", "tcu")
	first, kept := document()
	car.stored(first, kept)
	taken := 1
	for range 60 {
		topic, doc := document()
		code := car.send(topic, doc)
		if code == ingest.CodeStored {
			taken++
		} else if code != ingest.CodeQuotaExceeded {
			t.Fatalf("got code %#x, want stored or 0x97", code)
		} else {
			break
		}
	}
	if taken < 30 || taken > 42 {
		t.Errorf("got %d documents of 200 KiB, want some 40", taken)
	}
	s.stop()

	s = start(t, cfg)
	car = s.device("car1", "tcu")
	topic, doc := document()
	if code := car.send(topic, doc); code != ingest.CodeQuotaExceeded {
		t.Errorf("after a restart: got code %#x, want 0x97", code)
	}
	if code := s.device("car1", "other").send(topic, doc); code != ingest.CodeQuotaExceeded {
		t.Errorf("another device of the vehicle: got code %#x, want 0x97", code)
	}
	car.stored(first, kept)
	other := topics.Topic{Kind: topics.Schema, Vehicle: "car2", Schema: sha256.Sum256(doc)}
	s.device("car2", "tcu").stored(other.String(), doc)
	car.stored(topic, doc) // it is there now
}
