package backbone_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/cloud/backbone"
)

func bucket(t testing.TB, b *backbone.Backbone, name string) *backbone.Bucket {
	t.Helper()
	k, err := b.Bucket(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBucketCompareAndSet(t *testing.T) {
	b := open(t, backbone.Config{})
	k, ctx := bucket(t, b, "vehicles"), t.Context()
	wantErr := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	_, err := k.Get(ctx, "car")
	wantErr("get nothing", err, backbone.ErrNotFound)
	one, err := k.Create(ctx, "car", []byte("one"))
	wantErr("create", err, nil)
	_, err = k.Create(ctx, "car", []byte("again"))
	wantErr("create again", err, backbone.ErrExists)
	two, err := k.Update(ctx, "car", []byte("two"), one)
	wantErr("update", err, nil)
	_, err = k.Update(ctx, "car", []byte("late"), one)
	wantErr("update an old revision", err, backbone.ErrConflict)
	_, err = k.Update(ctx, "car", nil, 0)
	wantErr("update without a revision", err, backbone.ErrInvalid)
	wantErr("delete an old revision", k.Delete(ctx, "car", one), backbone.ErrConflict)
	got, err := k.Get(ctx, "car")
	if err != nil || string(got.Value) != "two" || got.Revision != two || two <= one || got.Key != "car" || time.Since(got.Stored) > time.Minute {
		t.Errorf("get: got %+v, %v, want two at %d", got, err, two)
	}
	wantErr("delete", k.Delete(ctx, "car", two), nil)
	_, err = k.Get(ctx, "car")
	wantErr("get deleted", err, backbone.ErrNotFound)
	wantErr("delete nothing", k.Delete(ctx, "other", 0), nil)
	three, err := k.Create(ctx, "car", nil)
	wantErr("create after delete", err, nil)
	four, err := k.Put(ctx, "car", make([]byte, backbone.MaxData))
	if err != nil || four <= three {
		t.Errorf("put the largest value: got revision %d after %d, %v", four, three, err)
	}
	_, err = k.Put(ctx, "car", make([]byte, backbone.MaxData+1))
	wantErr("too large", err, backbone.ErrTooLarge)
	_, err = k.Put(ctx, "", nil)
	wantErr("no key", err, backbone.ErrInvalid)
	_, err = b.Bucket("no such.name")
	wantErr("bucket name", err, backbone.ErrInvalid)
}

// TestErase: of an erased key neither a value nor a mark is left, and it can be made again.
func TestErase(t *testing.T) {
	cfg := backbone.Config{Dir: t.TempDir()}
	b := open(t, cfg)
	k, ctx := bucket(t, b, "vehicles"), t.Context()
	for _, key := range []string{"car", "car/1", "car2", "odd key.*>"} {
		if _, err := k.Put(ctx, key, []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Delete(ctx, "car2", 0); err != nil { // leaves its mark
		t.Fatal(err)
	}
	for _, key := range []string{"car", "odd key.*>", "car2", "never there"} {
		if err := k.Erase(ctx, key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	left := func(k *backbone.Bucket) (keys []string) {
		entries, err := k.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		return keys
	}
	info, err := b.Info(ctx, "KV_vehicles")
	if got := left(k); len(got) != 1 || got[0] != "car/1" || err == nil && info.Messages != 1 {
		t.Errorf("got %q and %d messages, want car/1 alone", got, info.Messages)
	}
	if _, err := k.Create(ctx, "car", []byte("new")); err != nil {
		t.Error(err)
	}
}

// TestBucketCountsRight lets goroutines add to one number with compare-and-set.
func TestBucketCountsRight(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	k := bucket(t, b, "counters")
	if _, err := k.Create(t.Context(), "n", []byte{0}); err != nil {
		t.Fatal(err)
	}
	var conflicts atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for added := 0; added < 10; {
				e, err := k.Get(t.Context(), "n")
				if err == nil {
					_, err = k.Update(t.Context(), "n", []byte{e.Value[0] + 1}, e.Revision)
				}
				switch {
				case err == nil:
					added++
				case errors.Is(err, backbone.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	waitFor(t, &all)
	if e, err := k.Get(t.Context(), "n"); err != nil || e.Value[0] != 80 {
		t.Errorf("got %v, %v, want 80 (%d conflicts)", e.Value, err, conflicts.Load())
	}
}

func TestBucketListAndReopen(t *testing.T) {
	dir := t.TempDir()
	b := open(t, backbone.Config{Dir: dir})
	k := bucket(t, b, "documents")
	want := map[string]string{"v1/ops/config/campaign/a-b_C": "1", "..": "2", "=2E": "3", "VIN with spaces\x00\xff": "4", "a.b": "5", "*": "6", ">": "7"}
	for key, value := range want {
		if _, err := k.Put(t.Context(), key, []byte("old")); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		if _, err := k.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
	}
	if _, err := k.Put(t.Context(), "gone", nil); err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(t.Context(), "gone", 0); err != nil {
		t.Fatal(err)
	}
	checkList(t, k, want)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, backbone.Config{Dir: dir})
	checkList(t, bucket(t, again, "documents"), want)
	checkList(t, bucket(t, again, "empty"), nil)
}

func checkList(t *testing.T, k *backbone.Bucket, want map[string]string) {
	t.Helper()
	all, err := k.List(t.Context())
	if err != nil || len(all) != len(want) {
		t.Errorf("list: got %d entries, %v, want %d", len(all), err, len(want))
	}
	for _, e := range all {
		if want[e.Key] != string(e.Value) || e.Revision == 0 {
			t.Errorf("key %q: got %q at %d, want %q", e.Key, e.Value, e.Revision, want[e.Key])
		}
	}
}

// TestWatch wants the values of the start, the marker, and every change after it, while others write.
func TestWatch(t *testing.T) {
	t.Parallel() // it mostly waits
	b := open(t, backbone.Config{})
	k := bucket(t, b, "consents")
	for i := range 300 { // more than the watch keeps waiting
		if _, err := k.Put(t.Context(), fmt.Sprintf("car%d", i), []byte("granted")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var atStart, after []string
	current := false
	err := k.Watch(ctx, func(c backbone.Change) error {
		switch {
		case c.Kind == backbone.Current:
			current = true
			go func() {
				_, _ = k.Put(t.Context(), "car7", []byte("withdrawn"))
				_ = k.Delete(t.Context(), "car8", 0)
				_, _ = k.Put(t.Context(), "car9", []byte("again"))
			}()
		case !current:
			atStart = append(atStart, c.Key)
		default:
			after = append(after, fmt.Sprintf("%d %s %s", c.Kind, c.Key, c.Value))
			if len(after) == 3 {
				cancel()
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	want := fmt.Sprint([]string{"1 car7 withdrawn", "2 car8 ", "1 car9 again"})
	if len(atStart) != 300 || fmt.Sprint(after) != want {
		t.Errorf("got %d at the start and then %q, want 300 and %s", len(atStart), after, want)
	}
	broken := errors.New("broken")
	if err := k.Watch(t.Context(), func(backbone.Change) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the callback's error", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = b.Close() })
	if err := k.Watch(t.Context(), func(backbone.Change) error { return nil }); !errors.Is(err, backbone.ErrClosed) {
		t.Errorf("got %v, want %v", err, backbone.ErrClosed)
	}
}

// FuzzKey wants every key to have one form, which is a valid NATS subject and leads back to it,
// and every form that is accepted to be the one of its key.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{"", "a", ".", "..", "a..b", "a.b.", "=", "=2E", "v1/x", "*", ">", "\x00\xff", "=2e", "=4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if form, err := backbone.EncodeKey(text); err == nil {
			if bytes.ContainsAny([]byte(form), "*> \t\r\n\x00") || form[0] == '.' || form[len(form)-1] == '.' || bytes.Contains([]byte(form), []byte("..")) {
				t.Errorf("key %q: got form %q, want a subject", text, form)
			}
			if back, err := backbone.DecodeKey(form); err != nil || back != text {
				t.Errorf("key %q: got %q, %v back from %q", text, back, err, form)
			}
		} else if text != "" && len(text) <= backbone.MaxKey {
			t.Errorf("key %q: %v", text, err)
		}
		if key, err := backbone.DecodeKey(text); err == nil {
			if form, err := backbone.EncodeKey(key); err != nil || form != text {
				t.Errorf("form %q: got key %q with form %q, %v", text, key, form, err)
			}
		}
	})
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"write /var/lib/telltale/1.blk: no space left": "write 1.blk: no space left",
		`open "/home/me/x y": denied`:                  `open "x y": denied`,
		"stream '$G > UP' is fine":                     "stream '$G > UP' is fine",
		"dir=/data/cloud":                              "dir=cloud",
		"3 msgs/s":                                     "3 msgs/s",
	} {
		if got := backbone.Redact(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestDamagedBucket: an entry that is damaged on disk ends a list with an error; it waited for ever.
func TestDamagedBucket(t *testing.T) {
	t.Parallel() // it mostly waits
	cfg := backbone.Config{Dir: t.TempDir()}
	b := open(t, cfg)
	k, err := b.Bucket("vehicles")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := k.Put(t.Context(), fmt.Sprint("car", i), []byte("0123456789abcdef0123456789abcdef")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(cfg.Dir, "jetstream", "$G", "streams", "KV_vehicles", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("got %v, %v, want one block", blocks, err)
	}
	data, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data[:len(data)/2], []byte("0123456789abcdef"))
	data[at] ^= 0x55
	if err := os.WriteFile(blocks[0], data, 0o640); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	backbone.SetPatience(b, 200*time.Millisecond)
	if k, err = b.Bucket("vehicles"); err != nil {
		t.Fatal(err)
	}
	if all, err := k.List(t.Context()); err == nil || !strings.Contains(err.Error(), "list bucket vehicles: ") {
		t.Errorf("got %d entries, %v, want an error", len(all), err)
	}
}
