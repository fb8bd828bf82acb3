package cloud_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/can"
)

// rows gives a payload with a row for each speed, 100 ms apart from a time on.
func (m *telemetry) rows(did string, seq uint64, from time.Time, speeds ...int64) []byte {
	m.t.Helper()
	e := batches.NewEncoder(m.schema, m.hash.ID())
	for i, speed := range speeds {
		e.Add(0, from.Add(time.Duration(i)*100*time.Millisecond).UnixMicro(), []int64{speed, 3})
	}
	data, err := e.Encode(batches.Header{ID: protocol.MessageID{Device: protocol.DeviceID(did), Boot: boot, Seq: seq}}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}

// TestEverySampleIsShownOnce: ten collected are ten shown, in order, also when two campaigns carry them.
func TestEverySampleIsShownOnce(t *testing.T) {
	s := start(t, config(t.TempDir()))
	car := s.device("car1", "tcu")
	live := s.watch("car1")
	until(t, live, "event: presence")
	from := time.Now().Add(-time.Minute).Truncate(time.Second)
	speeds := []int64{5, 1, 9, 2, 8, 3, 7, 4, 6, 100}
	for i, campaign := range []protocol.CampaignID{"one", "two"} {
		m := newTelemetry(t, campaign)
		car.stored(m.schemaTopic("car1"), m.doc)
		car.stored(m.topic("car1"), m.rows("tcu", uint64(2*i+1), from, speeds...), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: uint64(2*i + 1)}.String())
	}
	m := newTelemetry(t, "two")
	car.stored(m.topic("car1"), m.rows("tcu", 5, from.Add(time.Second), 12), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: 5}.String())
	var got []float64
	for len(got) < len(speeds)+1 {
		line := until(t, live, "data: [")
		var events []api.Event
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Signal == "SPEED" {
				got = append(got, float64(e.Value))
				if want := from.Add(time.Duration(len(got)-1) * 100 * time.Millisecond); !e.Time.Equal(want) || e.Device != "tcu" {
					t.Errorf("got %+v, want sample %d at %v", e, len(got), want)
				}
			}
		}
	}
	for i, speed := range append(speeds, 12) {
		if want := float64(speed) / 100; got[i] != want {
			t.Errorf("sample %d: got %v, want %v", i+1, got[i], want)
		}
	}
}

// TestNoMeasurement: what a J1939 signal does not measure has null and a reason in live events and in the state.
func TestNoMeasurement(t *testing.T) {
	s := start(t, config(t.TempDir()))
	car := s.device("car1", "tcu")
	live := s.watch("car1")
	until(t, live, "event: presence")
	m := newTelemetry(t, "everything")
	m.schema.Signals[0].CAN.ID, m.schema.Signals[0].CAN.J1939 = can.Extended|0x18FEF100, true
	var err error
	if m.doc, m.hash, err = m.schema.Encode(); err != nil {
		t.Fatal(err)
	}
	car.stored(m.schemaTopic("car1"), m.doc)
	car.stored(m.topic("car1"), m.rows("tcu", 1, time.Now().Add(-time.Minute), 5000, 0xFE00, 0xFFFF), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: 1}.String())
	var got []string
	for len(got) < 3 {
		var events []struct {
			Signal, Quality string
			Value           *float64
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(until(t, live, "data: ["), "data: ")), &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Signal == "SPEED" {
				if (e.Value == nil) == (e.Quality == "") {
					t.Errorf("got %+v, want a value or a quality", e)
				}
				got = append(got, e.Quality)
			}
		}
	}
	if want := []string{"", "error", "not_available"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var list []struct {
		Signal, Quality string
		Value           *float64
		Raw             int64
	}
	s.get("/v1/vehicles/car1/state", &list)
	if len(list) != 2 || list[1].Signal != "SPEED" || list[1].Value != nil || list[1].Quality != "not_available" || list[1].Raw != 0xFFFF {
		t.Errorf("got %+v, want SPEED not available", list)
	}
}
