package downlink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/link/downlink"
	"telltale.dev/protocol/topics"
)

// files are those of the inbox.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestSlowTakerDelaysNobody: while one route looks into a message for 30 s, messages of others are taken
// and all are acknowledged at once, in the order of arrival.
func TestSlowTakerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := run(t, dir, func(r *rig, c *downlink.Config) {
			c.Routes[0].Take = func(_ context.Context, m downlink.Message) {
				time.Sleep(30 * time.Second)
				r.note(string(m.Payload))
			}
		})
		began := time.Now()
		r.send(campaigns, "compiled for long")
		r.send(firmware, "update")
		for i := range 20 {
			r.send(unlock, fmt.Sprint("urgent ", i), expires(5*time.Second))
		}
		synctest.Wait()
		if passed := time.Since(began); passed != 0 {
			t.Errorf("got %v passed, want none", passed)
		}
		want := []answer{{"compiled for long", 0}, {"update", 0}}
		for i := range 20 {
			want = append(want, answer{fmt.Sprint("urgent ", i), 0})
		}
		equal(t, "answers", r.answered(), want)
		if got := r.took(); len(got) != 21 || slices.Contains(got, "compiled for long") {
			t.Errorf("taken: got %q, want all but the slow one", got)
		}
		if got := r.Stats(); got.Waiting != 1 || got.Received != 22 {
			t.Errorf("stats: got %+v, want one of 22 waiting", got)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := r.took(); len(got) != 22 || got[21] != "compiled for long" {
			t.Errorf("taken: got %q, want the slow one at last", got)
		}
		equal(t, "inbox", files(t, dir), nil)
	})
}

// TestWhatNobodyTakes is never acknowledged with success, and never kept.
func TestWhatNobodyTakes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, dir, nil)
		other, policy, fetch := campaigns, campaigns, topics.Topic{Kind: topics.Fetch, Vehicle: vid}
		other.Vehicle, policy.Name = "otto", "policy"
		many := func(m *downlink.Message) { m.User = make([]downlink.Property, 65) }
		for _, c := range []struct {
			topic topics.Topic
			code  byte
			edit  []func(*downlink.Message)
		}{
			{topics.Topic{}, 0x90, nil}, {other, 0x90, nil}, {fetch, 0x90, nil}, {policy, 0x83, nil}, {campaigns, 0, nil},
			{topics.Topic{Kind: topics.State, Vehicle: vid}, 0x90, nil},
			{unlock, 0x83, []func(*downlink.Message){expires(0)}}, {unlock, 0x97, []func(*downlink.Message){many}},
		} {
			before := len(r.answered())
			r.send(c.topic, "x", c.edit...)
			synctest.Wait()
			if got := r.answered()[before:]; len(got) != 1 || got[0].code != c.code {
				t.Errorf("%+v: got %v, want one answer of %#x", c.topic, got, c.code)
			}
		}
		equal(t, "taken", r.took(), []string{"x"})
		if got := r.Stats(); got.Received != 1 || got.Refused != 6 || got.Expired != 1 {
			t.Errorf("got %+v", got)
		}
	})
	equal(t, "inbox", files(t, dir), nil)
}

// TestRestart: what was acknowledged and not taken is taken at the next start, whole and in order; of documents only the newest.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	full := func(m *downlink.Message) {
		m.Correlation, m.Response, m.ContentType, m.Retained = []byte{1, 2}, "v1/ops/reply/x", "application/x", true
		m.User = []downlink.Property{{Key: "b", Value: "1"}, {Key: "a", Value: "\xff"}}
	}
	synctest.Test(t, func(t *testing.T) {
		stuck := func(ctx context.Context, _ downlink.Message) { <-ctx.Done() }
		r := run(t, dir, func(_ *rig, c *downlink.Config) {
			for i := range c.Routes {
				c.Routes[i].Take = stuck
			}
		})
		r.send(campaigns, "old")
		r.send(campaigns, "older than new")
		r.send(campaigns, "new")
		r.send(unlock, "first", full, expires(time.Hour))
		r.send(unlock, "second")
		synctest.Wait()
		if got := len(r.answered()); got != 5 {
			t.Errorf("answers: got %d, want 5", got)
		}
		r.stop()
		equal(t, "number of files", []int{len(files(t, dir))}, []int{3})

		var messages []downlink.Message
		again := run(t, dir, func(r *rig, c *downlink.Config) {
			c.Routes[2].Take = func(_ context.Context, m downlink.Message) {
				r.note(string(m.Payload))
				messages = append(messages, m)
			}
		})
		synctest.Wait()
		got := again.took()
		slices.Sort(got)
		equal(t, "taken", got, []string{"first", "new", "second"})
		want := downlink.Message{Topic: unlock, Payload: []byte("first"), QoS: 1}
		full(&want)
		want.User[1].Value = "\uFFFD"
		m := messages[0]
		if string(messages[1].Payload) != "second" || m.Topic != want.Topic || !bytes.Equal(m.Correlation, want.Correlation) || m.Response != want.Response ||
			m.ContentType != want.ContentType || !m.Retained || !reflect.DeepEqual(m.User, want.User) || m.Expiry != time.Hour || !m.Expires || m.QoS != 1 {
			t.Errorf("got %+v, want %+v", m, want)
		}
		again.stop()
		equal(t, "inbox", files(t, dir), nil)
	})
}

// TestExpired: what is too old is not acted upon, wherever it waits.
func TestExpired(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart bool
		wait    time.Duration
		taken   bool
	}{
		{"in time", false, 59 * time.Second, true},
		{"late", false, time.Minute, false},
		{"in time after a restart", true, 59 * time.Second, true},
		{"late after a restart", true, time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				r := run(t, dir, func(r *rig, cfg *downlink.Config) {
					cfg.Routes[2].Take = func(ctx context.Context, m downlink.Message) {
						select {
						case <-gate:
							r.note(string(m.Payload))
						case <-ctx.Done():
						}
					}
				})
				r.send(unlock, "blocks")
				synctest.Wait()
				r.send(unlock, "expires", expires(time.Minute))
				synctest.Wait()
				if c.restart {
					r.stop()
					time.Sleep(c.wait)
					r = run(t, dir, nil)
				} else {
					time.Sleep(c.wait)
					close(gate)
				}
				synctest.Wait()
				want := []string{"blocks"}
				if c.taken {
					want = append(want, "expires")
				}
				equal(t, "taken", r.took(), want)
				if got := r.Stats().Expired; got == 1 == c.taken {
					t.Errorf("expired: got %d", got)
				}
				r.stop()
				equal(t, "inbox", files(t, dir), nil)
			})
		})
	}
}

// TestClocks: the larger of the ages by both clocks counts, and an age that nobody knows is too much.
func TestClocks(t *testing.T) {
	now := time.Now()
	wall := now.Round(0)
	minute := downlink.Message{Received: now, Expires: true, Expiry: time.Minute}
	if minute.Expired(now) || minute.Expired(now.Add(time.Minute-1)) || !minute.Expired(now.Add(time.Minute)) {
		t.Error("an undisturbed clock: got another end than after a minute")
	}
	slept := downlink.Message{Received: wall.Add(-time.Hour), Expires: true, Expiry: time.Minute}
	if !slept.Expired(now) {
		t.Error("an hour by the wall clock: got still good")
	}
	if forever := (downlink.Message{Received: wall.Add(-1e6 * time.Hour)}); forever.Expired(now) {
		t.Error("without an expiry: got expired")
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		block := func(ctx context.Context, _ downlink.Message) { <-ctx.Done() }
		r := run(t, dir, func(_ *rig, c *downlink.Config) { c.Routes[2].Take = block })
		later := func(m *downlink.Message) { m.Received = m.Received.Add(time.Hour) } // the clock is set back before the restart
		r.send(unlock, "of unknown age", later, expires(24*time.Hour))
		r.send(unlock, "for ever", later)
		synctest.Wait()
		r.stop()
		r = run(t, dir, nil)
		synctest.Wait()
		equal(t, "taken after the clock was set back", r.took(), []string{"for ever"})
	})
}

// TestBounds: a route that stands still refuses what is beyond its bounds, and costs no other route anything.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, dir, func(_ *rig, c *downlink.Config) {
			c.Routes[2].Take = func(ctx context.Context, _ downlink.Message) { <-ctx.Done() }
			c.Routes[2].MaxMessages, c.Routes[2].MaxBytes = 3, 100
		})
		large := string(make([]byte, 200))
		r.send(unlock, "a")
		synctest.Wait()
		r.send(unlock, large)
		r.send(unlock, "b")
		r.send(unlock, "c", expires(time.Minute))
		r.send(unlock, "d")
		r.send(campaigns, large)
		synctest.Wait()
		equal(t, "answers", r.answered(), []answer{{"a", 0}, {large, 0x97}, {"b", 0}, {"c", 0}, {"d", 0x97}, {large, 0}})
		time.Sleep(time.Minute)
		r.send(unlock, "e") // c has expired and makes room
		synctest.Wait()
		if got := r.answered()[6]; got.code != 0 {
			t.Errorf("got %#x, want the room of what has expired", got.code)
		}
		if got := len(files(t, dir)); got != 3 {
			t.Errorf("files: got %d, want 3", got)
		}
		if got := r.Stats(); got.NoRoom != 2 || got.Waiting != 3 || got.WaitingBytes != 3 || got.Expired != 1 {
			t.Errorf("got %+v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) {
			c.Routes[0].MaxMessages = 1
			c.Routes[0].Take = func(ctx context.Context, _ downlink.Message) { <-ctx.Done() }
		})
		for i := range 10 { // each takes the place of the one before
			r.send(campaigns, fmt.Sprint(i))
			synctest.Wait()
		}
		for _, a := range r.answered() {
			if a.code != 0 {
				t.Errorf("document %s: got %#x, want taken", a.payload, a.code)
			}
		}
	})
}

// TestDiskRefuses: what is not on disk is not acknowledged; a document is taken all the same, a request is not.
func TestDiskRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := error(&os.PathError{Op: "write", Path: "message", Err: syscall.ENOSPC})
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) { c.Write = func(string, []byte) error { return err } })
		r.send(campaigns, "document")
		r.send(unlock, "request")
		synctest.Wait()
		err = errors.New("input/output error")
		r.send(unlock, "request")
		synctest.Wait()
		err = nil
		r.send(unlock, "with room")
		synctest.Wait()
		equal(t, "answers", r.answered(), []answer{{"document", 0x97}, {"request", 0x97}, {"request", 0x80}, {"with room", 0}})
		equal(t, "taken", r.took(), []string{"document", "with room"})
	})
}

// TestRoutes: settings that make no sense are errors, and filters cover the routes.
func TestRoutes(t *testing.T) {
	take := func(context.Context, downlink.Message) {}
	for name, cfg := range map[string]downlink.Config{
		"no folder":    {Vehicle: vid, Routes: []downlink.Route{{Kind: topics.Config, Take: take}}},
		"up":           {Dir: "x", Vehicle: vid, Routes: []downlink.Route{{Kind: topics.State, Take: take}}},
		"nobody":       {Dir: "x", Vehicle: vid, Routes: []downlink.Route{{Kind: topics.Config}}},
		"bounds below": {Dir: "x", Vehicle: vid, Routes: []downlink.Route{{Kind: topics.Config, Take: take, MaxBytes: -1}}},
	} {
		if _, err := downlink.Open(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	r := run(t, t.TempDir(), nil)
	equal(t, "filters", r.Filters(), []string{"v1/anna/down/config/+", "v1/anna/down/command/+/+/request"})
	none, err := downlink.Open(downlink.Config{})
	if err != nil || len(none.Filters()) != 0 {
		t.Errorf("without routes: got %v, %v", none.Filters(), err)
	}
}
