package socketcan

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"telltale.dev/hal/canbus"
)

// firstSocket is SD_LISTEN_FDS_START.
const firstSocket = 3

// Inherited are CAN sockets that whoever starts the process has opened before it,
// by interface: what the buses said meanwhile is in them. Each is used once.
// The environment tells of them as in sd_listen_fds(3), where the names are
// those of the interfaces; LISTEN_PID may be absent.
type Inherited struct {
	log *slog.Logger
	mu  sync.Mutex // guards fds
	fds map[string]int
}

// FindInherited looks into the environment and takes the words out of it: they are not for children.
func FindInherited(log *slog.Logger) *Inherited {
	s := &Inherited{log: log, fds: map[string]int{}}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	pid, names := os.Getenv("LISTEN_PID"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if err != nil || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s
	}
	for i, name := range names[:min(max(count, 0), len(names))] {
		s.fds[name] = firstSocket + i
	}
	return s
}

// Open gives the bus of a socket that is there already, or opens it.
func (s *Inherited) Open(ctx context.Context, o Options) (canbus.Bus, error) {
	s.mu.Lock()
	fd, ok := s.fds[o.Interface]
	delete(s.fds, o.Interface)
	s.mu.Unlock()
	if ok {
		bus, err := Adopt(fd, o)
		if err == nil {
			return bus, nil
		}
		s.log.Warn("socket handed over at the start is of no use; opening another", "error", err)
	}
	return Open(ctx, o)
}
