package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/cloud"
	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/state"
	"telltale.dev/cloud/update"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/events"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"
)

// TestOnlyTheLakeIsFull: while the lake's disk is full, presence, campaign answers, the word on firmware, the last
// known state and live events go on, also over a restart; then the lake gets everything.
func TestOnlyTheLakeIsFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	cfg := config(t.TempDir())
	s := start(t, cfg)
	ops, car, m := s.operator("olga"), s.device("car1", "tcu"), newTelemetry(t, "everything")
	ops.subscribe("v1/ops/config/campaign/+/result")
	car.stored(m.schemaTopic("car1"), m.doc)
	ops.stored("v1/ops/config/campaign/slow", []byte(campaignDoc("slow", 1, "")))
	ops.result("PENDING")
	full := func(processor string) string {
		return filepath.Join(cfg.Dir, "lake", ".tmp", "checkpoint-"+processor+".link")
	}
	for _, processor := range []string{"UP", "LOW"} {
		_ = os.Remove(full(processor))
		if err := os.Symlink("/dev/full", full(processor)); err != nil {
			t.Fatal(err)
		}
	}
	live := s.watch("car1")
	until(t, live, `"presence":"unknown"`)
	send := func(seq uint64, speed int64) {
		car.stored(m.topic("car1"), m.batch("tcu", seq, time.Now(), speed, 3))
	}
	send(1, 100)
	s.eventually(func() string {
		if code, text := s.body("/v1/health"); code != http.StatusServiceUnavailable || !strings.Contains(text, "the lake") {
			return fmt.Sprintf("health: got %d %s, want 503 for the lake", code, text)
		}
		return ""
	})
	for seq := uint64(2); seq <= 40; seq++ {
		send(seq, int64(100*seq))
	}
	until(t, live, `"value":40`)
	car.stored("v1/car1/up/config/campaigns/status", status(t, "slow", 1, document.Active), "pr", "CS4")
	ops.result("ACTIVE")
	car.stored("v1/car1/up/update/tcu/feedback", marshal(t, updates.Feedback{
		Version: 1, Device: "tcu", Running: updates.Running{Version: "1.7", Slot: "A"},
	}), "pr", "CS4")
	car.stored("v1/car1/up/event/storage", marshal(t, events.Storage{Version: 1, Device: "tcu", State: events.StorageRecreated, Loss: "a"}), "pr", "CS5")
	shows := func(s *stage) string {
		var f update.Firmware
		if s.get("/v1/vehicles/car1/update", &f); len(f.Devices) != 1 || f.Devices[0].Version != "1.7" {
			return fmt.Sprintf("firmware: got %+v", f)
		}
		var devices []device
		if s.get("/v1/vehicles/car1/presence", &devices); len(devices) != 1 || devices[0].Loss == nil {
			return fmt.Sprintf("loss: got %+v", devices)
		}
		var values []state.Signal
		s.get("/v1/vehicles/car1/state", &values)
		for _, v := range values {
			if v.Name == "SPEED" && v.Value == 40 {
				return ""
			}
		}
		return fmt.Sprintf("state: got %+v", values)
	}
	s.eventually(func() string { return shows(s) })
	if got := len(s.lakeRows()); got > 2 {
		t.Errorf("got %d rows in the lake, want at most those of the commit that is tried again", got)
	}
	for _, processor := range []string{"UP", "LOW"} {
		if err := os.Remove(full(processor)); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	if got := len(s.lakeRows()); got != 80 {
		t.Errorf("got %d rows in the lake, want 80", got)
	}
	s = start(t, cfg)
	s.eventually(func() string { return shows(s) })
	s.stop()
	if got := len(s.lakeRows()); got != 80 {
		t.Errorf("got %d rows in the lake after a restart, want 80", got)
	}
}

// TestConsumerInTheWay: a room that refuses everything holds up neither the lake nor, once the stream needs the room, the
// vehicles: what it refuses becomes dead letters, which a metric counts.
func TestConsumerInTheWay(t *testing.T) {
	const batches = 30
	refuses := ingest.Consumer{Name: "refuses", Batch: func(context.Context, *ingest.Decoded) error { return errors.New("its store is broken") }}
	cfg := cloud.WithConsumer(config(t.TempDir()), refuses, time.Hour)
	cfg.Limits = map[string]backbone.Limits{backbone.Low: {MaxBytes: 6_000}} // fewer than these
	s := start(t, cfg)
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.schemaTopic("car1"), m.doc)
	for seq := uint64(1); seq <= batches; seq++ {
		data := m.batch("tcu", seq, time.Now(), 5000, 3)
		for end := time.Now().Add(time.Minute); car.send(m.topic("car1"), data) != ingest.CodeStored; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("batch %d: the stream stays full", seq)
			}
		}
	}
	var letters []ingest.DeadLetter
	s.get("/v1/dead-letters", &letters)
	if len(letters) == 0 || letters[0].Reason != string(reasons.Consumer) {
		t.Errorf("got letters %+v, want some of the room's", letters)
	}
	s.stop()
	if got := len(s.lakeRows()); got != 2*batches {
		t.Errorf("got %d rows in the lake, want %d", got, 2*batches)
	}
}

// TestConsumerNeverWorks: what a room never takes is a dead letter that the API shows and a metric counts, and a replay
// brings it to that room. What nobody can read is one at once.
func TestConsumerNeverWorks(t *testing.T) {
	var mu sync.Mutex // guards the rest
	works, took := false, []string{}
	fences := ingest.Consumer{
		Name:  "fences",
		Wants: func(t topics.Topic) bool { return t.Kind == topics.ConfigStatus },
		Word: func(_ context.Context, m *ingest.Word) error {
			mu.Lock()
			defer mu.Unlock()
			if !works {
				return errors.New("its store is broken")
			}
			took = append(took, string(m.Topic.Vehicle))
			return nil
		},
	}
	s := start(t, cloud.WithConsumer(config(t.TempDir()), fences, time.Millisecond))
	car := s.device("car1", "tcu")
	car.stored("v1/car1/up/config/campaigns/status", status(t, "slow", 1, document.Active), "pr", "CS4")
	car.stored("v1/car1/up/update/tcu/feedback", []byte("junk"), "pr", "CS4")
	var letters []ingest.DeadLetter
	s.eventually(func() string {
		if s.get("/v1/dead-letters", &letters); len(letters) != 2 {
			return fmt.Sprintf("got letters %+v, want two", letters)
		}
		return ""
	})
	details := map[string]string{}
	for _, l := range letters {
		details[l.Reason] = l.Detail
	}
	if got := details["CONSUMER_FAILED"]; got != "fences: its store is broken" {
		t.Errorf("got letters %+v", letters)
	}
	if _, ok := details["UNDECODABLE"]; !ok {
		t.Errorf("got letters %+v", letters)
	}
	s.eventually(func() string { // a letter can be seen a moment before it is counted
		if _, text := s.body("/metrics"); !strings.Contains(text, "telltale_consumer_dead_total 2\n") {
			return "the metrics do not count both"
		}
		return ""
	})
	mu.Lock()
	works = true
	mu.Unlock()
	var answer struct{ Replayed int }
	if code := s.ask(http.MethodPost, "/v1/dead-letters/replay?reason=CONSUMER_FAILED", &answer); code != http.StatusOK || answer.Replayed != 1 {
		t.Fatalf("replay: got %d %+v, want one", code, answer)
	}
	s.eventually(func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(took) != 1 {
			return fmt.Sprintf("took %v, want the answer once", took)
		}
		return ""
	})
}
