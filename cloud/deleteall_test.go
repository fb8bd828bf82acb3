package cloud_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/registry"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/updates"
)

// traces lists the buckets and streams that have something of a vehicle, by name, and the files
// named after it. The cloud must have stopped.
func traces(t *testing.T, dir, vid string) (list []string) {
	t.Helper()
	b, err := backbone.Open(backbone.Config{Dir: filepath.Join(dir, "backbone")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	streams := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(path)) == "streams" {
			streams[e.Name()] = true
		}
		if strings.Contains(e.Name(), vid) {
			list = append(list, "file "+e.Name())
		}
		return nil
	})
	if err != nil || len(streams) < 8 {
		t.Fatalf("got %d streams, %v; want all of a cloud", len(streams), err)
	}
	for name := range streams {
		if hasTrace(t, b, name, vid) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func hasTrace(t *testing.T, b *backbone.Backbone, stream, vid string) (found bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if bucket, ok := strings.CutPrefix(stream, "KV_"); ok {
		k, err := b.Bucket(bucket)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := k.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(entries, func(e backbone.Entry) bool { return strings.Contains(e.Key+string(e.Value), vid) })
	}
	info, err := b.Info(ctx, stream)
	if err != nil || info.Messages == 0 {
		return false // the timers' stream is none of those that rooms read
	}
	for from := info.First; from <= info.Last; {
		messages, err := b.Read(ctx, stream, from, 256, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if len(messages) == 0 {
			break
		}
		for _, m := range messages {
			found = found || strings.Contains(m.Subject+m.Header[ingest.HeaderTopic]+string(m.Data), vid)
			from = m.Sequence + 1
		}
	}
	return found
}

// vehicles is the registry's store.
type vehicles struct{ *backbone.Bucket }

func (v vehicles) Put(ctx context.Context, key string, value []byte) error {
	_, err := v.Bucket.Put(ctx, key, value)
	return err
}

func (v vehicles) List(ctx context.Context) (map[string][]byte, error) {
	entries, err := v.Bucket.List(ctx)
	values := map[string][]byte{}
	for _, e := range entries {
		values[e.Key] = e.Value
	}
	return values, err
}

// markDeleted has the registry of a cloud that does not run delete a vehicle.
func markDeleted(t *testing.T, dir, vid string) {
	t.Helper()
	b, err := backbone.Open(backbone.Config{Dir: filepath.Join(dir, "backbone")})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := b.Bucket("vehicles")
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(t.Context(), vehicles{bucket})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Delete(t.Context(), protocol.VehicleID(vid)), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// lively has a vehicle leave a trace in every room, and waits until it is on disk.
func lively(t *testing.T, s *stage, vid string) {
	t.Helper()
	ops, car := s.operator("olga"), s.device(vid, "tcu")
	ops.stored("v1/ops/config/campaign/c", []byte(campaignDoc("c", 1, "")))
	car.stored("v1/"+vid+"/up/presence/tcu", presence(t, "tcu", protocol.PresenceOnline))
	car.stored("v1/"+vid+"/up/config/campaigns/status", status(t, "c", 1, document.Active), "pr", "CS4")
	feedback := updates.Feedback{Version: 1, Device: "tcu", Running: updates.Running{Version: "1.0", Release: 1}}
	car.stored("v1/"+vid+"/up/update/tcu/feedback", marshal(t, feedback))
	m := newTelemetry(t, "c")
	car.stored(m.schemaTopic(vid), m.doc)
	for seq := range uint64(3) {
		car.stored(m.topic(vid), m.batch("tcu", seq+1, time.Now(), 5000, 3), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: seq + 1}.String())
	}
	car.stored(m.topic(vid), []byte("no batch"), "id", protocol.MessageID{Device: "tcu", Boot: boot, Seq: 9}.String())
	s.eventually(func() string {
		var letters []struct{ Vehicle string }
		if s.get("/v1/dead-letters", &letters); len(letters) == 0 {
			return "no dead letter yet"
		}
		var signals []struct{}
		if s.get("/v1/vehicles/"+vid+"/state", &signals); len(signals) == 0 {
			return "no state yet"
		}
		var campaigns []struct{ Vehicles map[string]int }
		if s.get("/v1/campaigns", &campaigns); len(campaigns) == 0 || campaigns[0].Vehicles["ACTIVE"] == 0 {
			return "no answer of the vehicle yet"
		}
		return ""
	})
}

// TestDeleteLeavesNothing: of every bucket, stream and folder that had something of a vehicle, only those have it
// after its deletion that the package says; also when the deletion was cut short by a crash.
func TestDeleteLeavesNothing(t *testing.T) {
	const vid = "deletable"
	cfg := config(t.TempDir())
	s := start(t, cfg)
	lively(t, s, vid)
	s.stop()
	before := traces(t, s.dir, vid)
	for _, room := range []string{"DEAD", "KV_campaigns", "KV_schema-accounts", "KV_state", "KV_updates", "KV_vehicles"} {
		if !slices.Contains(before, room) {
			t.Errorf("got traces in %q, want one in %s too", before, room)
		}
	}
	crashed := t.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	kept := []string{"KV_vehicles", "LOW", "UP"}
	check := func(what, dir string) {
		t.Helper()
		for _, trace := range traces(t, dir, vid) {
			if !slices.Contains(kept, trace) {
				t.Errorf("%s: got a trace in %s, want them in %q at most", what, trace, kept)
			}
		}
	}

	s = start(t, cfg)
	if code := s.ask(http.MethodDelete, "/v1/vehicles/"+vid+"?confirm="+vid, nil); code != 200 {
		t.Errorf("got %d, want 200", code)
	}
	s.stop()
	check("deleted", s.dir)

	// The power goes when the registry knows of the deletion, and nobody else.
	cfg.Dir = crashed
	markDeleted(t, cfg.Dir, vid)
	s = start(t, cfg)
	s.stop()
	check("after a crash", crashed)
}
