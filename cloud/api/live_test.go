package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/api"
)

// event is one Server-Sent Event.
type event struct{ id, kind, data string }

// stream is what a client of live events reads.
type stream struct {
	t     *testing.T
	in    *bufio.Reader
	close func()
}

// events opens the stream of car1.
func (s *stage) events(query, lastEventID string) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.Addr().String()+"/v1/vehicles/car1/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		s.t.Errorf("got %s, want text/event-stream", got)
	}
	end := func() { cancel(); resp.Body.Close() }
	s.t.Cleanup(end)
	return &stream{s.t, bufio.NewReader(resp.Body), end}
}

// block gives the next lines up to an empty one, nil at the end.
func (s *stream) block() (lines []string) {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return nil
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return lines
		}
		lines = append(lines, line)
	}
}

// next gives the next event; comments and the time of retry are passed over.
func (s *stream) next() (e event) {
	s.t.Helper()
	for {
		lines := s.block()
		if lines == nil {
			s.t.Fatal("the stream ended")
		}
		for _, line := range lines {
			field, value, _ := strings.Cut(line, ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			}
		}
		if e.kind != "" {
			return e
		}
	}
}

// samples gives the next samples as signal@µs=value, and the id of their event.
func (s *stream) samples() (list []string, id string) {
	s.t.Helper()
	e := s.next()
	if e.kind != "state" {
		s.t.Fatalf("got %+v, want samples", e)
	}
	var all []struct {
		Time   time.Time
		Signal string
		Value  float64
	}
	if err := json.Unmarshal([]byte(e.data), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, v := range all {
		list = append(list, fmt.Sprintf("%s@%d=%v", v.Signal, v.Time.UnixMicro(), v.Value))
	}
	return list, e.id
}

func (s *stream) want(kind, part string) event {
	s.t.Helper()
	e := s.next()
	if e.kind != kind || !strings.Contains(e.data, part) {
		s.t.Fatalf("got %+v, want %s with %q", e, kind, part)
	}
	return e
}

// sample gives samples of one signal at times in µs; the value is the time.
func sample(signal string, times ...int64) (list []api.Sample) {
	info := &api.SignalInfo{Bus: "can0", Message: "M", Name: signal}
	for _, t := range times {
		list = append(list, api.Sample{Time: t, Signal: info, Value: float64(t)})
	}
	return list
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestEvents(t *testing.T) {
	s := start(t)
	in := s.events("", "")
	if got := in.block(); len(got) != 1 || !strings.HasPrefix(got[0], "retry: ") {
		t.Errorf("got %q, want the time of retry first", got)
	}
	if e := in.want("presence", `"presence":"online"`); e.id != "" {
		t.Errorf("got %+v, want what is not live without an id", e)
	}
	s.live.PublishSamples("car2", "tcu", sample("OTHER", 1))
	s.live.PublishSamples("car1", "tcu", append(sample("SPEED", 1, 2, 3), sample("GEAR", 3)...))
	got, id := in.samples()
	equal(t, "samples", got, "SPEED@1=1", "SPEED@2=2", "SPEED@3=3", "GEAR@3=3")
	if id == "" {
		t.Error("got no id")
	}
	s.live.Publish("car1", "presence", api.PresenceEvent{Device: "tcu", Presence: "lost"})
	if e := in.want("presence", `"presence":"lost"`); e.id == "" || e.id == id {
		t.Errorf("got id %q after %q, want another", e.id, id)
	}
	s.live.Publish("car1", "storage", storageEvent{Device: "tcu", Storage: "memory-only", Reason: "why"})
	in.want("storage", `"storage":"memory-only","reason":"why"`)
	if s.live.Wanted("car1") == nil || s.live.Wanted("car2") != nil || s.live.Watchers() != 1 {
		t.Errorf("got %d watchers, want one of car1", s.live.Watchers())
	}
	began := time.Now()
	s.stop()
	for in.block() != nil {
	}
	if took := time.Since(began); took > time.Minute || s.live.Watchers() != 0 {
		t.Errorf("got %d watchers %v after the end, want none at once", s.live.Watchers(), took)
	}
}

// TestEachSampleOnce: two campaigns carry the same signal, and one of them more of it.
func TestEachSampleOnce(t *testing.T) {
	s := start(t)
	in := s.events("", "")
	in.want("presence", "")
	s.live.PublishSamples("car1", "tcu", sample("SPEED", 1, 3))
	s.live.PublishSamples("car1", "tcu", sample("SPEED", 1, 2, 3, 4))
	s.live.PublishSamples("car1", "other", sample("SPEED", 1))
	changed := sample("SPEED", 1)
	changed[0].Value = 7
	s.live.PublishSamples("car1", "tcu", changed)
	for _, want := range [][]string{{"SPEED@1=1", "SPEED@3=3"}, {"SPEED@2=2", "SPEED@4=4"}, {"SPEED@1=1"}, {"SPEED@1=7"}} {
		got, _ := in.samples()
		equal(t, "samples", got, want...)
	}
}

func TestEventFilters(t *testing.T) {
	s := start(t)
	in := s.events("?signal=WHEEL_*&signal=SPEED", "")
	in.want("presence", "")
	s.live.PublishSamples("car1", "tcu", append(append(sample("SPEED", 1), sample("GEAR", 1)...), sample("WHEEL_FL", 1)...))
	got, _ := in.samples()
	equal(t, "samples", got, "SPEED@1=1", "WHEEL_FL@1=1")
	if w := s.live.Wanted("car1"); w.Signal("GEAR") || !w.Signal("WHEEL_X") {
		t.Error("got GEAR wanted, or WHEEL_X not")
	}
	s.live.PublishSamples("car1", "tcu", sample("GEAR", 2))
	s.live.Publish("car1", "presence", api.PresenceEvent{Device: "tcu", Presence: "asleep"})
	in.want("presence", "asleep")
	for query, says := range map[string]string{
		"?signal=[": "glob", "?signal=" + strings.Repeat("x", 129): "glob", "?" + strings.Repeat("&signal=a", 17): "at most 16",
	} {
		if resp, body := s.ask("GET", "/v1/vehicles/car1/events"+query, nil); resp.StatusCode != 400 || !strings.Contains(body, says) {
			t.Errorf("%.40s: got %d %s, want 400", query, resp.StatusCode, body)
		}
	}
}

// TestResume: a client that was cut off goes on where it was, or is told that it cannot.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second string // filters
		between       func(*stage)
		id            func(string) string
		gap           bool
		want          string // the samples that come next
	}{
		{"everything", "", "", func(*stage) {}, nil, false, "SPEED@2=2 GEAR@2=2"},
		{"the same filter", "?signal=SPEED", "?signal=SPEED", func(*stage) {}, nil, false, "SPEED@2=2"},
		{"a narrower filter", "", "?signal=GEAR", func(*stage) {}, nil, false, "GEAR@2=2"},
		{"another filter", "?signal=SPEED", "?signal=GEAR", func(*stage) {}, nil, true, "GEAR@9=9"},
		{"a while later", "", "", func(s *stage) { s.live.Age(4 * time.Minute) }, nil, false, "SPEED@2=2 GEAR@2=2"},
		{"too late", "", "", func(s *stage) { s.live.Age(6 * time.Minute) }, nil, true, "GEAR@9=9"},
		{"an id of nobody", "", "", func(*stage) {}, func(string) string { return "hello" }, true, "GEAR@9=9"},
		{"an id of the future", "", "", func(*stage) {}, func(id string) string { return id + "0" }, true, "GEAR@9=9"},
		{"the window is passed", "", "", func(s *stage) {
			for i := int64(1000); s.live.Bytes() < api.WindowBytes-100*api.MessageRows; i++ {
				s.live.PublishSamples("car1", "tcu", sample("FILL", i))
			}
			for i := range int64(1000) {
				s.live.PublishSamples("car1", "tcu", sample("LAST", i))
			}
		}, nil, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			in := s.events(c.first, "")
			in.want("presence", "")
			s.live.PublishSamples("car1", "tcu", sample("SPEED", 1))
			_, id := in.samples()
			in.close()
			for end := time.Now().Add(time.Minute); s.live.Watchers() > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			s.live.PublishSamples("car1", "tcu", append(sample("SPEED", 2), sample("GEAR", 2)...))
			c.between(s)
			if c.id != nil {
				id = c.id(id)
			}
			in = s.events(c.second, id)
			if c.gap {
				in.want("gap", `"last_event_id":"`+id+`"`)
				in.want("presence", "")
			}
			if c.want == "" {
				in.samples() // the oldest that is left
				return
			}
			if c.gap {
				s.live.PublishSamples("car1", "tcu", sample("GEAR", 9))
			}
			got, _ := in.samples()
			equal(t, "samples", got, strings.Fields(c.want)...)
		})
	}
}

func TestHeartbeat(t *testing.T) {
	s := start(t)
	s.live.SetHeartbeat(20 * time.Millisecond)
	in := s.events("", "")
	in.want("presence", "")
	for range 3 {
		if got := in.block(); len(got) != 1 || !strings.HasPrefix(got[0], ":") {
			t.Fatalf("got %q, want a comment", got)
		}
	}
}

// TestSlowWatcher: who does not read loses samples, is told how many, goes on with the
// rest, and holds nobody up. Others lose nothing.
func TestSlowWatcher(t *testing.T) {
	s := start(t)
	in := s.events("?signal=SPEED", "")
	in.want("presence", "")
	const batches, each = 400, 2 * api.MessageRows
	now := int64(0)
	for range batches {
		times := make([]int64, each)
		for i := range times {
			now++
			times[i] = now
		}
		s.live.PublishSamples("car1", "tcu", append(sample("SPEED", times...), sample("GEAR", times[0])...))
	}
	if got := s.live.Bytes(); got > api.WindowBytes {
		t.Errorf("got %d bytes, want at most %d", got, api.WindowBytes)
	}
	seen, lost := uint64(0), uint64(0)
	for seen+lost < batches*each {
		switch e := in.next(); e.kind {
		case "lost":
			var l api.LostEvent
			if err := json.Unmarshal([]byte(e.data), &l); err != nil || e.id == "" {
				t.Fatalf("got %+v, %v", e, err)
			}
			lost += l.Count
		case "state":
			seen += uint64(strings.Count(e.data, `"signal":"SPEED"`))
		}
	}
	if lost == 0 || seen+lost != batches*each || s.live.Dropped() != lost {
		t.Errorf("got %d and %d lost of %d, %d dropped", seen, lost, batches*each, s.live.Dropped())
	}
}

// TestAllWindowsTogether: the vehicle with the most pays when all together have too much.
func TestAllWindowsTogether(t *testing.T) {
	s := start(t)
	for i := range 12 {
		s.live.Watch(fmt.Sprint("v", i))
	}
	for i := range 12 {
		for n := range int64(400) {
			times := make([]int64, api.MessageRows)
			for k := range times {
				times[k] = n*api.MessageRows + int64(k)
			}
			s.live.PublishSamples(fmt.Sprint("v", i), "tcu", sample("S", times...))
		}
	}
	if got := s.live.Bytes(); got > api.AllBytes || got < api.AllBytes/2 {
		t.Errorf("got %d bytes, want at most %d", got, api.AllBytes)
	}
	s.live.Age(time.Hour)
	if got := s.live.Bytes(); got == 0 {
		t.Error("got the windows of those who watch forgotten")
	}
}

// TestTooManyStreams: more are refused, not queued.
func TestTooManyStreams(t *testing.T) {
	s := start(t)
	for i := range api.MaxWatchers {
		s.live.Watch(fmt.Sprint("v", i%7))
	}
	if resp, _ := s.ask("GET", "/v1/vehicles/car1/events", nil); resp.StatusCode != 503 {
		t.Errorf("got %d, want 503", resp.StatusCode)
	}
}

// TestDeletedVehicleEndsStreams: nothing will come, and the client should know.
func TestDeletedVehicleEndsStreams(t *testing.T) {
	s := start(t)
	in := s.events("", "")
	in.want("presence", "")
	s.live.End("car1")
	if got := in.block(); got != nil {
		t.Errorf("got %q, want the end", got)
	}
	if s.live.Wanted("car1") != nil || s.live.Bytes() != 0 {
		t.Error("got something left of the vehicle")
	}
}

// storageEvent is the live event of a room.
type storageEvent struct {
	Time    time.Time `json:"time"`
	Device  string    `json:"did"`
	Storage string    `json:"storage"`
	Reason  string    `json:"reason,omitempty"`
}
