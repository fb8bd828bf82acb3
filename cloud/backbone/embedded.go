package backbone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"telltale.dev/hal/durable"
)

// embedded is the NATS server within this process, and its directory.
type embedded struct {
	dir    *directory
	space  *space
	before []string // the streams and buckets with messages on disk at the start

	mu      sync.Mutex // guards the rest, which restart replaces
	server  *server.Server
	started chan struct{} // closed when Start has returned
}

// InProcessConn implements nats.InProcessConnProvider with the server of now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	s := e.server
	e.mu.Unlock()
	return s.InProcessConn()
}

// errSlow marks a start that took too long.
var errSlow = errors.New("within the time limit")

// tooSlow is the error of a start that was not over in time, at whichever step.
func tooSlow(cfg Config) error {
	return fmt.Errorf("%w on %s %w of %v; give it more time, or look at its disk", ErrStart, filepath.Base(cfg.Dir), errSlow, cfg.StartTimeout)
}

// startEmbedded locks the directory and starts the server on it. Nothing is left behind on an error.
func startEmbedded(cfg Config, f *fault) (*embedded, error) {
	dir, err := openDirectory(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{dir: dir, space: &space{path: cfg.Dir, reserve: cfg.MinFree, free: cfg.free}}
	switch err := e.start(cfg, f); {
	case errors.Is(err, errSlow):
		go e.stop() // recovery cannot be interrupted; the directory stays locked until it ends
		return nil, err
	case err != nil:
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *embedded) start(cfg Config, f *fault) error {
	free, err := cfg.free(cfg.Dir)
	if err != nil {
		return fmt.Errorf("ask for free disk space: %w", err)
	}
	if free < min(openFree, cfg.MinFree) {
		return fmt.Errorf("%w: the disk of %s has only %d MiB left; make space, or choose another directory",
			ErrFull, filepath.Base(cfg.Dir), free>>20)
	}
	if err := finishInterrupted(cfg.Dir); err != nil {
		return err
	}
	if e.before, err = storedStreams(cfg.Dir); err != nil {
		return err
	}
	s, err := server.NewServer(serverOptions(cfg.Dir))
	if err != nil {
		return fmt.Errorf("%w: %s", ErrStart, redact(err.Error()))
	}
	log := &serverLog{log: cfg.Log, fault: f}
	s.SetLoggerV2(log, false, false, false)
	started := make(chan struct{})
	e.mu.Lock()
	e.server, e.started = s, started
	e.mu.Unlock()
	go func() {
		defer close(started)
		s.Start()
	}()
	select {
	case <-started:
	case <-time.After(cfg.StartTimeout):
		return tooSlow(cfg)
	}
	if reason := log.reason(); reason != "" || !s.JetStreamEnabled() {
		return fmt.Errorf("%w on %s: %s", ErrStart, filepath.Base(cfg.Dir), reason)
	}
	return nil
}

// serverOptions of an embedded server: no port, no signal handler, each write synced.
func serverOptions(dir string) *server.Options {
	return &server.Options{
		ServerName: "telltale-cloud", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		// Limits are those of the streams and of the space guard. JetStream's own default would be
		// three quarters of what is free at the start.
		JetStreamMaxStore: math.MaxInt64 / 4,
		MaxPayload:        maxPayload,
	}
}

// storedStreams lists the streams and buckets whose messages the directory holds. One
// without a block of messages is what a start leaves that was interrupted.
func storedStreams(dir string) ([]string, error) {
	blocks, err := durable.Match(dir, storeName, "$G", "streams", "*", "msgs", "*.blk")
	if err != nil {
		return nil, fmt.Errorf("list the streams of %s: %w", filepath.Base(dir), err)
	}
	var names []string
	for _, block := range blocks {
		name := filepath.Base(filepath.Dir(filepath.Dir(block)))
		if info, err := os.Stat(block); err == nil && info.Size() > 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// checkRecovered refuses to go on when JetStream skipped a stream that is on
// disk: making an empty one in its place would lose it.
func (b *Backbone) checkRecovered(ctx context.Context) error {
	if b.server == nil {
		return nil
	}
	for _, name := range b.server.before {
		if _, err := b.reader.js.Stream(ctx, name); err != nil {
			return fmt.Errorf("%w: stream %s is on disk but could not be recovered (%w); restore its files from a backup, or move them away",
				ErrStart, name, err)
		}
	}
	return nil
}

// stopServer stops the server, if there is one, and waits for it.
func (e *embedded) stopServer() {
	e.mu.Lock()
	s, started := e.server, e.started
	e.mu.Unlock()
	if s == nil {
		return
	}
	s.Shutdown()
	<-started
	s.WaitForShutdown()
}

// stop stops the server and gives the directory free. It waits for that no longer than closeTimeout, and says whether it
// was done: a server that does not stop keeps the directory until it, or the process, ends. What it acknowledged is on disk.
func (e *embedded) stop() bool {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.stopServer()
		_ = e.dir.close() // only the lock is left, and it goes with the descriptor in any case
	}()
	select {
	case <-stopped:
		return true
	case <-time.After(closeTimeout):
		return false
	}
}

// connectEmbedded connects within the process.
func (b *Backbone) connectEmbedded(_ context.Context, _ Config, name string) (link, error) {
	conn, err := nats.Connect("", append(b.connectOptions(name), nats.InProcessServer(b.server), nats.ReconnectWait(reconnectWait))...)
	if err != nil {
		return link{}, fmt.Errorf("%w: connect: %w", ErrStart, err)
	}
	return newLink(conn)
}

func newLink(conn *nats.Conn) (link, error) {
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(2*batchMessages), jetstream.WithPublishAsyncTimeout(commitTimeout))
	return link{conn, js}, err
}
