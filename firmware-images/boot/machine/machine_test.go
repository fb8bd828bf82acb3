//go:build linux

package machine

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
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

// TestConfine: each switch that the kernel has is set; one that it lacks is no error, one that cannot be set is.
func TestConfine(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"user", "kernel/yama", "fs"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"user/max_user_namespaces": "0", "kernel/unprivileged_bpf_disabled": "1", "kernel/yama/ptrace_scope": "2", "fs/protected_hardlinks": "1"} {
		file := filepath.Join(root, name)
		if err := os.WriteFile(file, []byte("9"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := confine(root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, want)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "kernel", "dmesg_restrict"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := confine(root); err == nil {
		t.Error("a switch that cannot be set: got no error")
	}
}

// TestKillCgroup: all processes of a group end, also those that have left the session of who started them.
func TestKillCgroup(t *testing.T) {
	if err := (Cgroup{}).Kill(); err != nil {
		t.Errorf("none: got %v", err)
	}
	dir := t.TempDir()
	events := filepath.Join(dir, "cgroup.events")
	if err := os.WriteFile(events, []byte("populated 1\nfrozen 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	c := Cgroup{folder, dir}
	if err := c.kill(0); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("a process that stays: got %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "cgroup.kill")); err != nil || string(got) != "1" {
		t.Errorf("got %q, %v, want 1", got, err)
	}
	if err := os.WriteFile(events, []byte("populated 0\nfrozen 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Errorf("all are gone: got %v", err)
	}
}
