package update_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/agent/update"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// cutting serves a file and cuts the connection after n bytes of each answer.
func (b *bench) cutting(file []byte, after func() int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+strings.TrimPrefix(r.URL.Path, "/v1/files/")+`"`)
		http.ServeContent(&cutWriter{w, after()}, r, "", time.Time{}, bytes.NewReader(file))
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestCutAnywhere cuts the connection at every size of answers from one byte up; each try goes on where the last one ended.
func TestCutAnywhere(t *testing.T) {
	for _, step := range []int{1, 7, 100, 4096, 5000} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			b := newBench(t)
			file, payload := b.file(8, 100*step+200)
			if step == 1 {
				file, payload = b.file(8, 20)
			}
			b.handler = b.cutting(file, func() int { return step })
			last := b.await(updateDocument("u", 1, file))
			if last.State != updates.Confirmed || !bytes.Equal(b.fake.Content(slots.B), payload) {
				t.Errorf("got %+v", last)
			}
			for i, got := range b.requests {
				if want := fmt.Sprintf("bytes=%d-", i*step); i > 0 && got != want {
					t.Fatalf("request %d: got range %q, want %q", i, got, want)
				}
			}
		})
	}
}

// synced is how much of a file is on disk at once.
const synced = 256 << 10

// TestKilledWhileDownloading: each start goes on with what was certainly on disk.
func TestKilledWhileDownloading(t *testing.T) {
	b := newBench(t)
	file, payload := b.file(8, 5<<20)
	doc := updateDocument("u", 1, file)
	stuck := func(at int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"`+doc.File.String()+`"`)
			http.ServeContent(&stuckWriter{w, r.Context(), at}, r, "", time.Time{}, bytes.NewReader(file))
		}
	}
	for i, at := range []int{100, synced + 17, 2*synced + 1} {
		b.handler = stuck(at)
		ctx, cancel := context.WithCancel(t.Context())
		_, done := b.start(ctx, doc)
		partial := filepath.Join(b.dir, doc.File.String()+".part")
		waitFor(t, func() bool {
			info, err := os.Stat(partial)
			return err == nil && info.Size() >= int64(i*synced) && b.asked() > i
		})
		time.Sleep(30 * time.Millisecond)
		cancel()
		<-done
		// A power cut: the file has its size, its last bytes are not there.
		if info, err := os.Stat(partial); err != nil {
			t.Fatal(err)
		} else if tail := info.Size() % synced; tail > 0 {
			f, err := os.OpenFile(partial, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(make([]byte, tail), info.Size()-tail); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.handler = nil
	last := b.await(doc)
	if last.State != updates.Confirmed || !bytes.Equal(b.fake.Content(slots.B), payload) {
		t.Errorf("got %+v", last)
	}
	if got := b.requests[len(b.requests)-1]; got == "" || got == "bytes=0-" {
		t.Errorf("the last request began at the beginning: %q of %v", got, b.requests)
	}
}

// stuckWriter passes n bytes and then nothing until the client has gone.
type stuckWriter struct {
	http.ResponseWriter
	ctx  context.Context
	left int
}

func (s *stuckWriter) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	if s.left -= n; s.left == 0 {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		<-s.ctx.Done()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestDamagedOnDisk: what was kept is fetched once more; damaged twice, the update fails.
func TestDamagedOnDisk(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 3<<20)
	doc := updateDocument("u", 1, file)
	damaged := bytes.Clone(file)
	damaged[2<<20] ^= 1
	var served atomic.Int64
	b.handler = func(w http.ResponseWriter, r *http.Request) {
		n := served.Add(1)
		w.Header().Set("ETag", `"`+doc.File.String()+`"`)
		content := damaged
		if n > 1 {
			content = file
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	if last := b.await(doc); last.State != updates.Confirmed || served.Load() != 2 {
		t.Errorf("got %+v after %d requests", last, served.Load())
	}
	b.handler = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(damaged))
	}
	doc.ID, doc.Revision, doc.File[0] = "u2", 2, doc.File[0]^1
	if last := b.await(doc); last.State != updates.Failed || last.Reason != reasons.Corrupt || last.Running.Slot != "B" {
		t.Errorf("got %+v", last)
	}
}

func TestCloudRefuses(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(8, 1000)
	b.handler = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	if last := b.await(updateDocument("u", 1, file)); last.State != updates.Failed || last.Reason != reasons.DownloadRefused {
		t.Errorf("got %+v", last)
	}
	// Another server is never asked, whatever the answer says.
	var strangers, tries atomic.Int64
	b.handler = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			strangers.Add(1)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}
	if last := b.await(updateDocument("u2", 2, file)); last.Reason != reasons.DownloadRefused || strangers.Load() > 0 {
		t.Errorf("got %+v and %d requests elsewhere", last, strangers.Load())
	}
	// Trouble of the cloud's own is waited for, and so is silence.
	b.handler = func(w http.ResponseWriter, r *http.Request) {
		switch n := tries.Add(1); {
		case n < 12:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 12:
			<-r.Context().Done()
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}
	}
	if last := b.await(updateDocument("u3", 3, file)); last.State != updates.Confirmed {
		t.Errorf("got %+v", last)
	}
}

// TestWrongKeyEndsEarly: a file that will be refused is not fetched to its end.
func TestWrongKeyEndsEarly(t *testing.T) {
	b := newBench(t)
	file, _ := b.file(6, 6<<20) // an older release
	last := b.await(updateDocument("u", 1, file))
	if last.Reason != reasons.Older {
		t.Errorf("got %+v", last)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.said, func(f updates.Feedback) bool { return f.Bytes > 2<<20 }); i >= 0 {
		t.Errorf("%d bytes were fetched of a file that its header refuses", b.said[i].Bytes)
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := newBench(t).config()
	cfg.Endpoints = nil
	if _, err := update.Open(cfg); err == nil {
		t.Error("no endpoint was accepted")
	}
}
