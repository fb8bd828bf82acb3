package socketcan

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestFindInherited(t *testing.T) {
	for _, c := range []struct {
		fds, pid, names string
		want            map[string]int
	}{
		{"", "", "", map[string]int{}},
		{"2", "", "can0:vcan1", map[string]int{"can0": 3, "vcan1": 4}},
		{"1", strconv.Itoa(os.Getpid()), "can0", map[string]int{"can0": 3}},
		{"1", strconv.Itoa(os.Getpid() + 1), "can0", map[string]int{}}, // for another process
		{"1", "", "can0:can1", map[string]int{"can0": 3}},
		{"3", "", "can0", map[string]int{"can0": 3}},
		{"-1", "", "can0", map[string]int{}},
		{"many", "", "can0", map[string]int{}},
	} {
		t.Setenv("LISTEN_FDS", c.fds)
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDNAMES", c.names)
		if got := FindInherited(slog.New(slog.DiscardHandler)).fds; !maps.Equal(got, c.want) {
			t.Errorf("%+v: got %v", c, got)
		}
		if _, there := os.LookupEnv("LISTEN_FDS"); there {
			t.Errorf("%+v: children still see it", c)
		}
	}
}

// TestSocketOfNoUse: the agent says so, once, and opens the interface itself.
func TestSocketOfNoUse(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var said bytes.Buffer
	s := &Inherited{log: slog.New(slog.NewTextHandler(&said, nil)), fds: map[string]int{"tt-none": int(file.Fd())}}
	for range 2 {
		if _, err := s.Open(t.Context(), Options{Interface: "tt-none"}); err == nil || !strings.Contains(err.Error(), "tt-none") {
			t.Errorf("got %v, want what opening says", err)
		}
	}
	if n := strings.Count(said.String(), "of no use"); n != 1 {
		t.Errorf("said %d times, want once: %s", n, said.String())
	}
	if _, err := file.Stat(); err != nil {
		t.Errorf("a file that is no socket was closed: %v", err)
	}
}
