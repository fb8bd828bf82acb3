package cloud_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/api"
	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
)

// rows gives a payload with a row for each speed, 100 ms apart from a time on.
func (m *telemetry) rows(did string, seq uint64, from time.Time, speeds ...int64) []byte {
	m.t.Helper()
	e := codec.NewEncoder(m.schema, m.hash.ID())
	for i, speed := range speeds {
		e.Add(0, from.Add(time.Duration(i)*100*time.Millisecond).UnixMicro(), []int64{speed, 3})
	}
	data, err := e.Encode(codec.Header{ID: protocol.MessageID{Device: protocol.DeviceID(did), Boot: boot, Seq: seq}}, nil)
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
