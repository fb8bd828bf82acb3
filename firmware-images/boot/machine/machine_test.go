//go:build linux

package machine

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestGroups: the modules of the buses stand before the empty line.
func TestGroups(t *testing.T) {
	for order, want := range map[string][2][]string{
		"can_raw\nvcan\n\next4\nvirtio_net x=1\n": {{"can_raw", "vcan"}, {"ext4", "virtio_net x=1"}},
		"can_raw\nvcan\n":                         {{"can_raw", "vcan"}, {}},
		"":                                        {{}, {}},
	} {
		first, rest := groups(order)
		if !reflect.DeepEqual([2][]string{first, rest}, want) {
			t.Errorf("%q: got %q and %q, want %q", order, first, rest, want)
		}
	}
}

// TestLatest: the later one of the build and the mark counts.
func TestLatest(t *testing.T) {
	dir := t.TempDir()
	built, mark := filepath.Join(dir, "built"), filepath.Join(dir, "mark")
	if got := latest(built, mark); !got.IsZero() {
		t.Errorf("neither: got %v, want the zero time", got)
	}
	if err := os.WriteFile(built, []byte("2030-01-02T03:04:05Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	MarkTime(mark)
	if got := latest(built, mark); !got.Equal(want) {
		t.Errorf("an older mark: got %v, want %v", got, want)
	}
	later := want.Add(time.Hour)
	if err := os.Chtimes(mark, later, later); err != nil {
		t.Fatal(err)
	}
	if got := latest(built, mark); !got.Equal(later) {
		t.Errorf("a later mark: got %v, want %v", got, later)
	}
}

// TestWatchdog: one that is not there is said, and feeding it does nothing.
func TestWatchdog(t *testing.T) {
	said := 0
	say := func(string, ...any) { said++ }
	for device, want := range map[string]int{"": 0, filepath.Join(t.TempDir(), "none"): 1} {
		said = 0
		if w := OpenWatchdog(say, device, time.Minute); w != nil || said != want {
			t.Errorf("%q: got %v and %d lines, want nil and %d", device, w, said, want)
		} else {
			w.Feed()
		}
	}
}
