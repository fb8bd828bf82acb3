package cloud_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/parquet-go/parquet-go"

	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/state"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
)

// row is what the test reads of a Parquet row.
type row struct {
	Vehicle string  `parquet:"vid"`
	Signal  string  `parquet:"signal"`
	Value   float64 `parquet:"value"`
}

func (s *stage) lakeRows() (rows []row) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "lake", "date=*", "part-*.parquet"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range files {
		some, err := parquet.ReadFile[row](name)
		if err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, some...)
	}
	return rows
}

// TestDataJourney follows a batch from the device to everything that shows it.
func TestDataJourney(t *testing.T) {
	s := start(t, config(t.TempDir()))
	if code := s.get("/v1/vehicles/car1/events", nil); code != http.StatusNotFound {
		t.Errorf("events of an unknown vehicle: got %d, want 404", code)
	}
	car := s.device("car1", "tcu")
	live := s.watch("car1")
	until(t, live, `"presence":"unknown"`)
	car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	until(t, live, `"presence":"online"`)

	m, at := newTelemetry(t, "everything"), time.Now().Truncate(time.Millisecond)
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, at, 5000, 3), "pr", "CS4")
	until(t, live, `"signal":"SPEED"`, `"value":50`)

	var signals []state.Signal
	s.get("/v1/vehicles/car1/state?signal=GE*", &signals)
	if len(signals) != 1 || signals[0].Text != "D" || signals[0].Raw == nil || *signals[0].Raw != 3 || signals[0].RawBits != nil || !signals[0].Time.Equal(at) {
		t.Errorf("state: got %+v, want gear D", signals)
	}
	var points []point
	s.get("/v1/vehicles/car1/history?bus=can0&message=SPEED&signal=SPEED", &points)
	if len(points) != 1 || points[0].Value != 50 {
		t.Errorf("history: got %+v, want one point of 50", points)
	}
	var boots []ingest.Boot
	s.get("/v1/vehicles/car1/ledger", &boots)
	if len(boots) != 1 || boots[0].Stored != 1 || boots[0].Samples != 2 || boots[0].Boot != boot.String() || len(boots[0].Gaps) != 0 {
		t.Errorf("ledger: got %+v, want one batch of two samples", boots)
	}
	if code := s.get("/v1/schemas/"+m.hash.ID().String(), nil); code != http.StatusOK {
		t.Errorf("schema: got %d, want 200", code)
	}
	s.eventually(func() string {
		if rows := s.lakeRows(); len(rows) != 2 {
			return fmt.Sprintf("lake: got %+v, want two rows", rows)
		}
		return ""
	})

	// The same batch again, and later one from earlier: neither changes what is known.
	car.stored(m.topic("car1"), m.batch("tcu", 1, at, 5000, 3), "pr", "CS4")
	car.stored(m.topic("car1"), m.batch("tcu", 2, at.Add(-time.Minute), 100, 1), "pr", "CS0")
	s.eventually(func() string {
		s.get("/v1/vehicles/car1/ledger", &boots)
		if boots[0].Stored != 2 || boots[0].Duplicates != 1 || len(boots[0].Gaps) != 0 {
			return fmt.Sprintf("ledger: got %+v, want two stored and a duplicate", boots)
		}
		return ""
	})
	s.get("/v1/vehicles/car1/state?signal=SPEED", &signals)
	if signals[0].Value != 50 {
		t.Errorf("state: got %v after late data, want 50", signals[0].Value)
	}
}

// TestDeadLetters: garbage is stored, set aside with a reason, and comes back when the reason is gone.
func TestDeadLetters(t *testing.T) {
	s := start(t, config(t.TempDir()))
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored(m.topic("car1"), []byte("garbage"), "pr", "CS4")
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "pr", "CS4") // its schema comes later
	var letters []ingest.DeadLetter
	s.eventually(func() string {
		if s.get("/v1/dead-letters", &letters); len(letters) != 2 {
			return fmt.Sprintf("got %+v, want two letters", letters)
		}
		return ""
	})
	if l := letters[0]; l.Reason != string(reasons.Undecodable) || l.Vehicle != "car1" || l.Bytes != 7 || !strings.Contains(l.Detail, "batch: ") {
		t.Errorf("got %+v, want %s", l, reasons.Undecodable)
	}
	if l := letters[1]; l.Reason != string(reasons.UnknownSchema) {
		t.Errorf("got %+v, want %s", l, reasons.UnknownSchema)
	}
	s.get("/v1/dead-letters?limit=1", &letters)
	if len(letters) != 1 || letters[0].Reason != string(reasons.UnknownSchema) {
		t.Errorf("got %+v, want the newest one", letters)
	}
	car.stored(m.schemaTopic("car1"), m.doc)
	var answer struct{ Replayed int }
	if code := s.ask(http.MethodPost, "/v1/dead-letters/replay?reason=UNKNOWN_SCHEMA", &answer); code != http.StatusOK || answer.Replayed != 1 {
		t.Errorf("replay: got %d, %+v, want one letter", code, answer)
	}
	s.eventually(func() string {
		var signals []state.Signal
		if s.get("/v1/vehicles/car1/state", &signals); len(signals) != 2 {
			return "the replayed batch is not in the state"
		}
		return ""
	})
	if s.get("/v1/dead-letters", &letters); len(letters) != 2 {
		t.Fatalf("got %+v, want both letters still", letters)
	}
	for i, l := range letters { // of garbage the property says it
		if l.Device != "tcu" || l.Boot != boot.String() || l.Number != uint64(1) {
			t.Errorf("letter %d: got %+v, want device, boot and sequence", i+1, l)
		}
	}
	one := fmt.Sprint("/v1/dead-letters/", letters[0].Sequence)
	if code := s.ask(http.MethodDelete, one, nil); code != http.StatusNoContent {
		t.Errorf("dismiss: got %d, want 204", code)
	}
	if code := s.ask(http.MethodDelete, one, nil); code != http.StatusNotFound {
		t.Errorf("dismiss again: got %d, want 404", code)
	}
	var gone struct{ Dismissed int }
	if code := s.ask(http.MethodDelete, "/v1/dead-letters?reason=UNDECODABLE", &gone); code != http.StatusOK || gone.Dismissed != 0 {
		t.Errorf("dismiss a reason that no letter has: got %d, %+v", code, gone)
	}
	if code := s.ask(http.MethodDelete, "/v1/dead-letters?reason=ALL", &gone); code != http.StatusOK || gone.Dismissed != 1 {
		t.Errorf("dismiss all: got %d, %+v, want one", code, gone)
	}
	if s.get("/v1/dead-letters", &letters); len(letters) != 0 {
		t.Errorf("got %+v, want none left", letters)
	}
}

// TestSuspend: a suspended vehicle is out at once and stays out until it is activated.
func TestSuspend(t *testing.T) {
	s := start(t, config(t.TempDir()))
	car := s.device("car1", "tcu")
	if code := s.ask(http.MethodPost, "/v1/vehicles/car1/suspend", nil); code != http.StatusNoContent {
		t.Fatalf("got %d, want 204", code)
	}
	select {
	case code := <-car.gone:
		if code != ingest.CodeNotAuthorized {
			t.Errorf("got DISCONNECT 0x%02X, want 0x87", code)
		}
	case <-time.After(patience):
		t.Fatal("still connected")
	}
	if _, code := s.tryDevice("car1", "tcu"); code != 0x87 {
		t.Errorf("got CONNACK 0x%02X, want 0x87", code)
	}
	var v vehicle
	if s.get("/v1/vehicles/car1", &v); v.State != "SUSPENDED" {
		t.Errorf("got %+v, want SUSPENDED", v)
	}
	if code := s.ask(http.MethodPost, "/v1/vehicles/car1/activate", nil); code != http.StatusNoContent {
		t.Fatalf("got %d, want 204", code)
	}
	s.device("car1", "tcu").stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	if code := s.ask(http.MethodPost, "/v1/vehicles/nobody/suspend", nil); code != http.StatusNotFound {
		t.Errorf("got %d, want 404", code)
	}
}

// TestNotRegistered: outside of development nobody registers by connecting.
func TestNotRegistered(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Dev = false
	s := start(t, cfg)
	if _, code := s.tryDevice("car1", "tcu"); code != 0x87 {
		t.Errorf("got CONNACK 0x%02X, want 0x87", code)
	}
}

func TestQuota(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Quota = ingest.Quota{Messages: 1, MessagesBurst: 5}
	s := start(t, cfg)
	car, other := s.device("car1", "tcu"), s.device("car2", "tcu2")
	refused := 0
	for range 10 {
		if code := car.send("v1/car1/up/event/storage", []byte("x")); code == ingest.CodeQuotaExceeded {
			refused++
		}
	}
	if refused < 4 || refused > 5 {
		t.Errorf("got %d of 10 refused with 0x97, want 5", refused)
	}
	other.stored("v1/car2/up/event/storage", []byte("x"))
}

// TestRestart: what was promised to be kept is kept, and what cannot be known is said to be unknown.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, config(dir))
	car, m := s.device("car1", "tcu"), newTelemetry(t, "everything")
	car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "pr", "CS4")
	ops := s.operator("olga")
	ops.stored("v1/ops/config/campaign/slow", []byte(campaignDoc("slow", 1, "")))
	car.stored("v1/car1/up/config/campaigns/status", status(t, "slow", 1, document.Active), "pr", "CS4")
	s.stop()

	s = start(t, config(dir))
	var v vehicle
	s.eventually(func() string {
		s.get("/v1/vehicles/car1", &v)
		if v.State != "ACTIVE" || len(v.Devices) != 1 || v.Devices[0].Presence != "unknown" || v.Signals != 2 {
			return fmt.Sprintf("got %+v, want the vehicle with its state, of unknown presence", v)
		}
		return ""
	})
	s.eventually(func() string { // its word may still have been on the way from the stream when the cloud stopped
		var campaigns []campaign.Campaign
		s.get("/v1/campaigns", &campaigns)
		if len(campaigns) != 1 || campaigns[0].State != "ACTIVE" || campaigns[0].Vehicles["ACTIVE"] != 1 {
			return fmt.Sprintf("got %+v, want what the vehicle said before", campaigns)
		}
		return ""
	})
	s.eventually(func() string {
		if rows := s.lakeRows(); len(rows) != 2 {
			return fmt.Sprintf("got %d rows in the lake, want 2", len(rows))
		}
		return ""
	})
	car = s.device("car1", "tcu")
	car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	s.eventually(func() string {
		if s.get("/v1/vehicles/car1", &v); v.Devices[0].Presence != "online" {
			return fmt.Sprintf("got %+v, want online after a birth", v)
		}
		return ""
	})
	car.stored(m.topic("car1"), m.batch("tcu", 1, time.Now(), 5000, 3), "pr", "CS4") // its PUBACK was lost, say
	s.eventually(func() string {
		var boots []ingest.Boot
		if s.get("/v1/vehicles/car1/ledger", &boots); len(boots) != 1 || boots[0].Stored != 1 || boots[0].Duplicates != 1 {
			return fmt.Sprintf("got %+v, want the repeated batch recognised", boots)
		}
		return ""
	})
}

// TestPresenceIsForwarded: operators see presences as they are, then as they change, and the will of a lost connection.
func TestPresenceIsForwarded(t *testing.T) {
	s := start(t, config(t.TempDir()))
	car := s.device("car1", "tcu")
	car.stored("v1/car1/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	s.eventually(func() string {
		var devices []device
		if s.get("/v1/vehicles/car1/presence", &devices); devices[0].Presence != "online" {
			return "not online"
		}
		return ""
	})
	ops := s.operator("olga")
	ops.subscribe("v1/+/up/presence/+")
	if p := ops.next(patience); p.Topic != "v1/car1/up/presence/tcu" || !p.Retain || string(p.Payload) != string(presence(t, "tcu", protocol.PresenceOnline)) {
		t.Errorf("got %s %x, want the birth, retained", p.Topic, p.Payload)
	}
	_ = car.Disconnect(&paho.Disconnect{ReasonCode: 4}) // with will message
	p := ops.next(patience)
	if string(p.Payload) == string(presence(t, "tcu", protocol.PresenceOnline)) && !p.Retain {
		p = ops.next(patience) // the birth was still on its way to subscribers when this one came
	}
	if string(p.Payload) != string(presence(t, "tcu", protocol.PresenceLost)) {
		t.Errorf("got %x, want the will", p.Payload)
	}
	select {
	case p := <-ops.received:
		t.Errorf("got %s once more", p.Topic)
	case <-time.After(200 * time.Millisecond):
	}
}

// TestWatchersEnd: the streams of events end with the cloud.
func TestWatchersEnd(t *testing.T) {
	s := start(t, config(t.TempDir()))
	s.device("car1", "tcu")
	live := s.watch("car1")
	until(t, live, "presence")
	began := time.Now()
	s.stop()
	for range live {
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v to stop with a watcher", took)
	}
}
