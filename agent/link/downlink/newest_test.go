package downlink_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/link/downlink"
)

// TestNewerDocumentEndsTheOlder: a document that is being taken is given up for a newer one.
func TestNewerDocumentEndsTheOlder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, dir, func(r *rig, c *downlink.Config) {
			c.Routes[0].Take = func(ctx context.Context, m downlink.Message) {
				if string(m.Payload) == "old" {
					<-ctx.Done()
				}
				r.note(string(m.Payload))
			}
		})
		r.send(campaigns, "old")
		synctest.Wait()
		r.send(campaigns, "new")
		synctest.Wait()
		equal(t, "taken", r.took(), []string{"old", "new"})
		r.stop()
		equal(t, "inbox", files(t, dir), nil)
	})
}

// TestRepetitionIsNotWritten: a document that comes again with each connection costs no write, but is taken again.
func TestRepetitionIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) {
			c.Write = func(string, []byte) error { writes++; return nil }
		})
		for _, doc := range []string{"a", "a", "a", "b", "a"} {
			r.send(campaigns, doc)
			synctest.Wait()
		}
		r.send(unlock, "again")
		r.send(unlock, "again")
		synctest.Wait()
		if got := r.took(); writes != 5 || len(got) != 7 {
			t.Errorf("got %d writes, %q taken, want 5 (three documents, two requests) and all", writes, got)
		}
	})
}

// TestRepetitionWhileItIsTaken: a document that comes again while somebody looks into it neither ends that nor is written again;
// one that is not on disk, or differs, is.
func TestRepetitionWhileItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes, broken := 0, error(nil)
		r := run(t, t.TempDir(), func(r *rig, c *downlink.Config) {
			c.Write = func(string, []byte) error {
				if broken == nil {
					writes++
				}
				return broken
			}
			c.Routes[0].Take = func(ctx context.Context, m downlink.Message) {
				r.note(string(m.Payload))
				select {
				case <-ctx.Done():
				case <-time.After(30 * time.Second):
					r.note("done")
				}
			}
		})
		send := func(text string, edit ...func(*downlink.Message)) {
			r.send(campaigns, text, edit...)
			synctest.Wait()
		}
		for range 3 {
			send("a")
		}
		time.Sleep(31 * time.Second)
		equal(t, "taken", r.took(), []string{"a", "done"})
		broken = errors.New("disk")
		send("b")
		broken = nil
		send("b") // now it is written
		send("b", expires(time.Hour))
		send("c")
		equal(t, "taken", r.took(), []string{"a", "done", "b", "b", "b", "c"})
		if writes != 4 {
			t.Errorf("got %d writes, want 4", writes)
		}
		equal(t, "answers", r.answered(), []answer{{"a", 0}, {"a", 0}, {"a", 0}, {"b", 0x80}, {"b", 0}, {"b", 0}, {"c", 0}})
	})
}

// TestUselessDocument: a document that cannot be used takes the place of none that can, neither of one that waits nor of one that is
// being taken, over a restart, too; and it is taken itself, so that it can be answered. Each is read once for that.
func TestUselessDocument(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		waits := func(r *rig, c *downlink.Config) {
			c.Routes[0].Revision = func(text []byte) (uint64, bool) {
				asked[string(text)]++
				return 0, !strings.HasPrefix(string(text), "bad")
			}
			c.Routes[0].Take = func(ctx context.Context, m downlink.Message) {
				r.note(string(m.Payload))
				select {
				case <-ctx.Done():
					r.note("left")
				case <-time.After(30 * time.Second):
				}
			}
		}
		r := run(t, dir, waits)
		for _, text := range []string{"first", "bad 1", "bad 2", "second", "bad 3", "bad 4"} {
			r.send(campaigns, text)
			synctest.Wait()
		}
		equal(t, "taken", r.took(), []string{"first", "left", "second"})
		for text, n := range asked {
			if n != 1 {
				t.Errorf("%q was read %d times to find its revision, want once", text, n)
			}
		}
		r.stop()
		r = run(t, dir, waits)
		time.Sleep(61 * time.Second)
		equal(t, "taken at the next start", r.took(), []string{"second", "bad 4"})
		r.stop()
		equal(t, "inbox", files(t, dir), nil)
	})
}

// TestLowerRevision: a document of a lower revision does not take the place of one that waits, and one of the same or a higher does.
func TestLowerRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, t.TempDir(), func(r *rig, c *downlink.Config) {
			c.Routes[0].Revision = func(text []byte) (uint64, bool) { return uint64(text[0] - '0'), true }
			c.Routes[0].Take = func(ctx context.Context, m downlink.Message) {
				r.note(string(m.Payload))
				select {
				case <-ctx.Done():
				case <-time.After(30 * time.Second):
				}
			}
		})
		for _, text := range []string{"5 a", "4 a", "5 b", "6 a", "5 c"} {
			r.send(campaigns, text)
			synctest.Wait()
		}
		time.Sleep(61 * time.Second)
		equal(t, "taken", r.took(), []string{"5 a", "5 b", "6 a", "5 c"})
		r.stop()
	})
}
