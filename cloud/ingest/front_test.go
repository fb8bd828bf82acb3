package ingest_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/ingest"
	"telltale.dev/protocol"
	"telltale.dev/protocol/topics"
)

func newFront(tb testing.TB, edit func(*ingest.FrontConfig)) (*ingest.Front, streams, *schemaStore) {
	tb.Helper()
	l, s := streams{"up": newMemory(), "low": newMemory()}, &schemaStore{}
	cfg := ingest.FrontConfig{Publisher: l, Registry: registry(everybody), Schemas: s}
	if edit != nil {
		edit(&cfg)
	}
	f, err := ingest.NewFront(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return f, l, s
}

func upload(payload []byte, edit ...func(*ingest.Upload)) ingest.Upload {
	u := ingest.Upload{
		Vehicle: "car1", Device: "tcu1",
		Topic:   topics.Topic{Kind: topics.Telemetry, Vehicle: "car1", Campaign: "everything"},
		Payload: payload, ContentType: protocol.ContentTelemetry,
		Properties: map[string]string{protocol.PropMessageID: "tcu1.0100000000000000.1"},
		Received:   start,
	}
	for _, e := range edit {
		e(&u)
	}
	return u
}

// publish gives the reason code, and fails unless there is exactly one.
func publish(tb testing.TB, f *ingest.Front, u ingest.Upload) (code byte) {
	tb.Helper()
	calls := 0
	f.Publish(u, func(c byte) { calls++; code = c })
	if calls != 1 {
		tb.Fatalf("done was called %d times, want 1", calls)
	}
	return code
}

func TestFrontLanes(t *testing.T) {
	tests := []struct{ priority, stream string }{
		{"", "low"}, {"CS0", "low"}, {"CS1", "low"}, {"CS2", "low"}, {"CS3", "up"}, {"CS4", "up"}, {"CS6", "up"}, {"CS7", "low"}, {"nonsense", "low"},
	}
	for _, tt := range tests {
		t.Run("priority "+tt.priority, func(t *testing.T) {
			f, l, _ := newFront(t, nil)
			u := upload([]byte("any bytes at all"))
			if tt.priority != "" {
				u.Properties[protocol.PropPriority] = tt.priority
			}
			if code := publish(t, f, u); code != ingest.CodeStored {
				t.Fatalf("got code %#x, want stored", code)
			}
			got := l[tt.stream].all()
			if len(got) != 1 {
				t.Fatalf("stream %s: got %d messages, want 1", tt.stream, len(got))
			}
			words := strings.Split(got[0].Subject, ".")
			if len(words) != 4 || words[0] != tt.stream || words[2] != "car1" || words[3] != "telemetry" {
				t.Errorf("subject: got %s, want %s.….car1.telemetry", got[0].Subject, tt.stream)
			}
		})
	}
}

// TestFrontCeilings: a vehicle gets no higher class than the kind of its message may have, whatever it
// claims, and no share of the urgent quota by it.
func TestFrontCeilings(t *testing.T) {
	tests := []struct {
		topic            topics.Topic
		priority, stream string
		urgent           bool
	}{
		{topics.Topic{Kind: topics.Health, Vehicle: "car1", Device: "tcu1"}, "CS6", "low", false},
		{topics.Topic{Kind: topics.State, Vehicle: "car1"}, "CS6", "up", false},
		{topics.Topic{Kind: topics.ConfigStatus, Vehicle: "car1", Name: "campaigns"}, "CS6", "up", true},
		{topics.Topic{Kind: topics.Event, Vehicle: "car1", Name: "dtc"}, "", "up", true},
		{topics.Topic{Kind: topics.Telemetry, Vehicle: "car1", Campaign: "c"}, "CS6", "up", true},
	}
	for _, tt := range tests {
		f, l, _ := newFront(t, func(c *ingest.FrontConfig) {
			c.Quota = ingest.Quota{Messages: 0.001, MessagesBurst: 2, Urgent: 0.5}
		})
		u := upload([]byte("x"), func(u *ingest.Upload) { u.Topic = tt.topic })
		if tt.priority != "" {
			u.Properties[protocol.PropPriority] = tt.priority
		}
		if code := publish(t, f, u); code != ingest.CodeStored || len(l[tt.stream].all()) != 1 {
			t.Errorf("%s as %q: got code %#x and %d messages in stream %s, want one", tt.topic.Kind.Word(), tt.priority, code, len(l[tt.stream].all()), tt.stream)
		}
		var left int // of the common share
		for publish(t, f, upload([]byte("x"))) == ingest.CodeStored {
			left++
		}
		if want := map[bool]int{false: 1, true: 2}[tt.urgent]; left != want {
			t.Errorf("%s as %q: the common share has %d left, want %d", tt.topic.Kind.Word(), tt.priority, left, want)
		}
	}
}

func TestFrontHeaders(t *testing.T) {
	f, l, _ := newFront(t, nil)
	u := upload([]byte("payload"), func(u *ingest.Upload) {
		u.Properties["note"] = "a b%\r\nTelltale-Device: other"
		u.Properties["Bad:Key"] = "left out"
		u.Properties["long"] = strings.Repeat("x", 257)
		u.Properties[""] = "left out"
	})
	if code := publish(t, f, u); code != ingest.CodeStored {
		t.Fatalf("got code %#x, want stored", code)
	}
	m := l["low"].all()[0]
	want := map[string]string{
		ingest.HeaderTopic:             "v1/car1/up/telemetry/everything",
		ingest.HeaderDevice:            "tcu1",
		ingest.HeaderReceived:          fmt.Sprint(start.UnixMicro()),
		ingest.HeaderContent:           protocol.ContentTelemetry,
		ingest.HeaderProperty + "id":   "tcu1.0100000000000000.1",
		ingest.HeaderProperty + "note": "a%20b%25%0D%0ATelltale-Device:%20other",
	}
	if fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Errorf("headers:\n got %v\nwant %v", m.Header, want)
	}
	if got := f.Stats().Properties; got != 3 {
		t.Errorf("properties left out: got %d, want 3", got)
	}
}

func TestFrontRefuses(t *testing.T) {
	broken := errors.New("broken")
	fail := func(err error) func(*ingest.FrontConfig) {
		return func(c *ingest.FrontConfig) {
			m := newMemory()
			m.fail = func(ingest.Message) error { return err }
			c.Publisher = streams{"up": m, "low": m}
		}
	}
	says := func(err error) func(*ingest.FrontConfig) {
		return func(c *ingest.FrontConfig) {
			c.Registry = registry(func(protocol.VehicleID, protocol.DeviceID) error { return err })
		}
	}
	tests := []struct {
		name   string
		config func(*ingest.FrontConfig)
		upload func(*ingest.Upload)
		want   byte
	}{
		{"stored", nil, nil, ingest.CodeStored},
		{"not active", says(broken), nil, ingest.CodeNotAuthorized},
		{"registry not ready", says(fmt.Errorf("x: %w", ingest.ErrUnavailable)), nil, ingest.CodeInternal},
		{"busy", fail(fmt.Errorf("x: %w", ingest.ErrBusy)), nil, ingest.CodeQuotaExceeded},
		{"full", fail(fmt.Errorf("x: %w", ingest.ErrFull)), nil, ingest.CodeQuotaExceeded},
		{"broken", fail(broken), nil, ingest.CodeInternal},
		{"another vehicle's topic", nil, func(u *ingest.Upload) { u.Topic.Vehicle = "car2" }, ingest.CodeTopicInvalid},
		{"another device's topic", nil, func(u *ingest.Upload) {
			u.Topic = topics.Topic{Kind: topics.Health, Vehicle: "car1", Device: "tcu2"}
		}, ingest.CodeTopicInvalid},
		{"not an upward topic", nil, func(u *ingest.Upload) { u.Topic.Kind = topics.Config }, ingest.CodeTopicInvalid},
		{"no topic", nil, func(u *ingest.Upload) { u.Topic = topics.Topic{} }, ingest.CodeTopicInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _, _ := newFront(t, tt.config)
			u := upload([]byte("x"))
			if tt.upload != nil {
				tt.upload(&u)
			}
			if got := publish(t, f, u); got != tt.want {
				t.Errorf("got code %#x, want %#x", got, tt.want)
			}
		})
	}
}

func TestFrontSchemas(t *testing.T) {
	f, l, s := newFront(t, nil)
	doc := []byte("a schema document is not parsed here")
	u := upload(doc, func(u *ingest.Upload) {
		u.Topic = topics.Topic{Kind: topics.Schema, Vehicle: "car1", Schema: sha256.Sum256(doc)}
	})
	for range 3 {
		if got := publish(t, f, u); got != ingest.CodeStored {
			t.Fatalf("got code %#x, want stored", got)
		}
	}
	if s.puts != 1 || len(l["up"].all())+len(l["low"].all()) != 0 {
		t.Errorf("got %d puts and messages in the streams, want 1 put and none", s.puts)
	}
	if got, err := s.Schema(t.Context(), u.Topic.Schema.ID()); err != nil || string(got) != string(doc) {
		t.Errorf("store: got %q %v, want the document", got, err)
	}
	u.Payload = append([]byte{}, doc[1:]...)
	if got := publish(t, f, u); got != ingest.CodePayloadInvalid {
		t.Errorf("another document: got code %#x, want %#x", got, ingest.CodePayloadInvalid)
	}
	u.Topic.Schema = sha256.Sum256(u.Payload)
	s.err = ingest.ErrFull
	if got := publish(t, f, u); got != ingest.CodeQuotaExceeded {
		t.Errorf("store is full: got code %#x, want %#x", got, ingest.CodeQuotaExceeded)
	}
}

func TestQuota(t *testing.T) {
	quota := ingest.Quota{Messages: 10, MessagesBurst: 20, Bytes: 1000, BytesBurst: protocol.MaxPacket}
	send := func(t *testing.T, f *ingest.Front, vehicle protocol.VehicleID, n, size int, at time.Duration) (stored int) {
		t.Helper()
		for range n {
			code := publish(t, f, upload(make([]byte, size), func(u *ingest.Upload) {
				u.Vehicle, u.Topic.Vehicle, u.Received = vehicle, vehicle, start.Add(at)
			}))
			switch code {
			case ingest.CodeStored:
				stored++
			case ingest.CodeQuotaExceeded:
			default:
				t.Fatalf("got code %#x, want stored or over quota", code)
			}
		}
		return stored
	}
	steps := []struct {
		name    string
		vehicle protocol.VehicleID
		n, size int
		at      time.Duration
		want    int
	}{
		{"burst of messages", "car1", 30, 1, 0, 20},
		{"others are not touched", "car2", 5, 1, 0, 5},
		{"refilled by time", "car1", 30, 1, time.Second, 10},
		{"a clock going back refills nothing", "car1", 5, 1, 0, 0},
		{"full again, not more", "car1", 100, 1, time.Hour, 20},
		{"bytes", "car3", 5, protocol.MaxPacket / 2, 0, 2},
		{"bytes refilled", "car3", 5, 1000, 2 * time.Second, 2},
	}
	f, _, _ := newFront(t, func(c *ingest.FrontConfig) { c.Quota = quota })
	for _, s := range steps {
		if got := send(t, f, s.vehicle, s.n, s.size, s.at); got != s.want {
			t.Errorf("%s: got %d stored, want %d", s.name, got, s.want)
		}
	}
	if got := f.Stats().Vehicles; got != 3 {
		t.Errorf("buckets: got %d, want 3", got)
	}
	for i := range 2000 { // hours later the idle ones go as others come
		send(t, f, protocol.VehicleID(fmt.Sprint("later", i)), 1, 1, time.Duration(i)*time.Hour)
	}
	if got := f.Stats().Vehicles; got > 200 {
		t.Errorf("buckets after 2000 vehicles an hour apart: got %d, want the idle ones forgotten", got)
	}
}

// TestQuotaOfDevices: all devices of a vehicle together get what one would, in whatever order their messages' times come.
func TestQuotaOfDevices(t *testing.T) {
	f, _, _ := newFront(t, func(c *ingest.FrontConfig) {
		c.Quota = ingest.Quota{Messages: 100, MessagesBurst: 200}
	})
	const devices, each, span = 32, 400, 2 * time.Second
	var stored atomic.Int64
	var wait sync.WaitGroup
	for d := range devices {
		wait.Go(func() {
			for i := range each {
				at := start.Add(span * time.Duration(i) / each)
				if i%2 == 1 { // taken later than it came
					at = at.Add(-time.Duration(d) * 30 * time.Millisecond)
				}
				code := publish(t, f, upload([]byte{1}, func(u *ingest.Upload) {
					u.Device, u.Received = protocol.DeviceID(fmt.Sprint("tcu", d)), at
				}))
				if code == ingest.CodeStored {
					stored.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if got, most := stored.Load(), int64(200+100*2); got > most || got < 200 {
		t.Errorf("got %d stored of %d devices, want a burst and at most %d", got, devices, most)
	}
}

// TestQuotaOfUrgent: class CS4 and above has a share of its own, for each vehicle, beside the common one.
func TestQuotaOfUrgent(t *testing.T) {
	f, _, _ := newFront(t, func(c *ingest.FrontConfig) {
		c.Quota = ingest.Quota{Messages: 0.001, MessagesBurst: 50, Urgent: 0.2}
	})
	send := func(n int, class string) (stored int) {
		for range n {
			if publish(t, f, upload([]byte{1}, func(u *ingest.Upload) {
				u.Properties = map[string]string{protocol.PropPriority: class}
			})) == ingest.CodeStored {
				stored++
			}
		}
		return stored
	}
	for _, s := range []struct {
		class   string
		n, want int
	}{{"CS1", 60, 50}, {"CS3", 5, 0}, {"CS6", 1, 1}, {"CS4", 20, 9}, {"CS6", 1, 0}} {
		if got := send(s.n, s.class); got != s.want {
			t.Errorf("%s: got %d stored, want %d", s.class, got, s.want)
		}
	}
}

// TestDebt: samples are debited behind the stream; a vehicle in debt is refused until its
// rate has paid, its urgent messages are not, and nobody else is.
func TestDebt(t *testing.T) {
	f, _, _ := newFront(t, func(c *ingest.FrontConfig) {
		c.Quota = ingest.Quota{Samples: 1000, SamplesBurst: 10_000}
	})
	now := time.Now()
	send := func(vid protocol.VehicleID, class string, after time.Duration) byte {
		return publish(t, f, upload([]byte{1}, func(u *ingest.Upload) {
			u.Vehicle, u.Topic.Vehicle, u.Received = vid, vid, now.Add(after)
			u.Properties = map[string]string{protocol.PropPriority: class}
		}))
	}
	expect := func(what string, got, want byte) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got code %#x, want %#x", what, got, want)
		}
	}
	f.Debit("car1", false, 10_000)
	expect("burst used up", send("car1", "CS1", time.Second), ingest.CodeStored)
	f.Debit("car1", false, 20_000)
	expect("in debt", send("car1", "CS1", 2*time.Second), ingest.CodeQuotaExceeded)
	expect("urgent", send("car1", "CS5", 2*time.Second), ingest.CodeStored)
	expect("another vehicle", send("car2", "CS1", 2*time.Second), ingest.CodeStored)
	expect("half paid", send("car1", "CS1", 10*time.Second), ingest.CodeQuotaExceeded)
	expect("paid", send("car1", "CS1", 25*time.Second), ingest.CodeStored)
	f.Debit("car1", false, 1<<40)
	expect("a large debt", send("car1", "CS1", 500*time.Second), ingest.CodeQuotaExceeded)
	expect("no debt is more than ten minutes", send("car1", "CS1", 630*time.Second), ingest.CodeStored)
	f.Debit("car3", true, 900)
	f.Debit("car3", true, 900)
	expect("urgent samples take from the common share too", send("car3", "CS5", time.Millisecond), ingest.CodeStored)
	f.Debit("car3", true, 30_000)
	expect("both used up", send("car3", "CS5", 2*time.Millisecond), ingest.CodeQuotaExceeded)
}

func TestFrontSettings(t *testing.T) {
	tests := []struct {
		name string
		edit func(*ingest.FrontConfig)
	}{
		{"no publisher", func(c *ingest.FrontConfig) { c.Publisher = nil }},
		{"stamp of two words", func(c *ingest.FrontConfig) { c.Stamp = "a.b" }},
		{"a burst below a packet", func(c *ingest.FrontConfig) { c.Quota.BytesBurst = 1 }},
		{"negative rate", func(c *ingest.FrontConfig) { c.Quota.Messages = -1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ingest.FrontConfig{Publisher: streams{}, Registry: registry(everybody), Schemas: &schemaStore{}}
			tt.edit(&cfg)
			if _, err := ingest.NewFront(cfg); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// discard stores nothing and says so at once.
type discard struct{}

func (discard) Publish(_ ingest.Message, done func(uint64, error)) { done(1, nil) }

// BenchmarkFront is the front's own cost of a message, from 1,000 vehicles.
func BenchmarkFront(b *testing.B) {
	f, _, _ := newFront(b, func(c *ingest.FrontConfig) {
		c.Publisher, c.Quota = discard{}, ingest.Quota{Messages: 1e9, MessagesBurst: 1e9, Bytes: 1e12, BytesBurst: 1e12}
	})
	uploads := make([]ingest.Upload, 1000)
	for i := range uploads {
		uploads[i] = upload(make([]byte, 1024), func(u *ingest.Upload) {
			u.Vehicle = protocol.VehicleID(fmt.Sprint("car", i))
			u.Topic.Vehicle = u.Vehicle
			u.Properties[protocol.PropPriority] = "CS4"
		})
	}
	var wait sync.WaitGroup
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		wait.Add(1)
		f.Publish(uploads[i%len(uploads)], func(byte) { wait.Done() })
	}
	wait.Wait()
}
