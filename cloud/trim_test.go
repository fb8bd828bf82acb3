package cloud_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale.dev/cloud"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/lake"
)

// TestFullStreamMakesRoom sends more than a stream may hold: what is full refuses until
// the lake has what came before. An older checkpoint beside it is refused, as the parts
// that would be deleted could not be made again.
func TestFullStreamMakesRoom(t *testing.T) {
	const batches = 40
	cfg := config(t.TempDir())
	cfg.Limits = map[string]backbone.Limits{backbone.Low: {MaxBytes: 6_000}} // fewer than these
	checkpoint := filepath.Join(cfg.Dir, "lake", "checkpoint-LOW")
	s := start(t, cfg)
	first, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.schemaTopic("car1"), m.doc)
	refused := 0
	for seq := 1; seq <= batches; seq++ {
		data := m.batch("tcu", uint64(seq), time.Now(), 5000, 3)
		s.eventually(func() string {
			switch code := car.send(m.topic("car1"), data); code {
			case ingest.CodeStored:
				return ""
			case ingest.CodeQuotaExceeded:
				refused++
				return "the stream stays full"
			default:
				t.Fatalf("got 0x%02X", code)
				return ""
			}
		})
	}
	s.stop()
	if got, want := len(s.lakeRows()), 2*batches; got != want || refused == 0 {
		t.Fatalf("got %d rows in the lake after %d refusals, want %d after some", got, refused, want)
	}
	if err := os.WriteFile(checkpoint, first, 0o640); err != nil {
		t.Fatal(err)
	}
	links, err := filepath.Glob(checkpoint + "-*")
	if err != nil || len(links) == 0 {
		t.Fatalf("got links %v, %v, want some", links, err)
	}
	for _, link := range links {
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cloud.New(t.Context(), cfg); !errors.Is(err, lake.ErrCheckpoint) {
		t.Errorf("got %v, want %v", err, lake.ErrCheckpoint)
	}
	if got, want := len(s.lakeRows()), 2*batches; got != want {
		t.Errorf("got %d rows after the refusal, want %d", got, want)
	}
}
