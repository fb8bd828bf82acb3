package backbone_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"telltale.dev/cloud/backbone"
)

// natsServer runs a server as a user would, on a port.
func natsServer(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true}
	change(opts)
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not start")
	}
	return s
}

func TestExternalServer(t *testing.T) {
	t.Parallel() // it mostly waits
	s := natsServer(t, func(*server.Options) {})
	var log bytes.Buffer
	b := open(t, backbone.Config{URL: s.ClientURL(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "sync_interval: always") {
		t.Errorf("log: got %q, want a loud word about sync_interval", log.String())
	}
	checkExpecting(t, b)
}

func TestExternalServerWorks(t *testing.T) {
	t.Parallel() // it mostly waits
	checkWorks(t, open(t, backbone.Config{URL: natsServer(t, func(*server.Options) {}).ClientURL(), Log: slog.New(slog.DiscardHandler)}))
}

// checkWorks publishes, reads and writes a bucket.
func checkWorks(t *testing.T, b *backbone.Backbone) {
	t.Helper()
	for i, r := range publish(t, b, numbered(500)...) {
		if r.err != nil || r.seq != uint64(i+1) {
			t.Fatalf("message %d: got %+v, want sequence %d", i, r, i+1)
		}
	}
	if got := readAll(t, b, backbone.Up, 0, 500); string(got[499].Data) != "message 499" {
		t.Errorf("got %q at the end, want message 499", got[499].Data)
	}
	k := bucket(t, b, "vehicles")
	rev, err := k.Create(t.Context(), "car", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Update(t.Context(), "car", []byte("two"), rev); err != nil {
		t.Error(err)
	}
	if _, err := k.Update(t.Context(), "car", []byte("late"), rev); !errors.Is(err, backbone.ErrConflict) {
		t.Errorf("got %v, want %v", err, backbone.ErrConflict)
	}
	checkList(t, k, map[string]string{"car": "two"})
}

func TestExternalWithoutJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	s := natsServer(t, func(o *server.Options) { o.JetStream = false })
	_, err := backbone.Open(backbone.Config{URL: s.ClientURL(), StartTimeout: 5 * time.Second})
	if !errors.Is(err, backbone.ErrUnsuitable) || !strings.Contains(err.Error(), "has no JetStream") {
		t.Errorf("got %v, want %v", err, backbone.ErrUnsuitable)
	}
	t.Log(err)
}

// TestExternalServerGoesAway wants errors instead of waiting, and the work to go on when the server is back.
func TestExternalServerGoesAway(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	first := natsServer(t, func(o *server.Options) { o.StoreDir = dir })
	port := first.Addr().(*net.TCPAddr).Port
	b := open(t, backbone.Config{URL: first.ClientURL(), Log: slog.New(slog.DiscardHandler)})
	publish(t, b, numbered(50)...)
	r, err := b.Reader(t.Context(), backbone.Up, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first.Shutdown()
	first.WaitForShutdown()
	start := time.Now()
	for _, got := range publish(t, b, numbered(50)...) {
		if !errors.Is(got.err, backbone.ErrBusy) && !errors.Is(got.err, backbone.ErrUnknown) {
			t.Fatalf("without the server: got %+v, want %v or %v", got, backbone.ErrBusy, backbone.ErrUnknown)
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v to say so", took)
	}
	natsServer(t, func(o *server.Options) { o.StoreDir, o.Port = dir, port })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := publish(t, b, numbered(1)...)[0]
		if got.err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("server is back: got %v", got.err)
		}
	}
	n := uint64(0)
	for deadline := time.Now().Add(time.Minute); n < 51 && time.Now().Before(deadline); {
		got, err := r.Next(t.Context(), 100, time.Second)
		if err != nil {
			t.Fatalf("reader: %v", err)
		}
		for _, m := range got {
			if n++; m.Sequence != n {
				t.Fatalf("reader: got sequence %d, want %d", m.Sequence, n)
			}
		}
	}
	if n != 51 {
		t.Errorf("reader: got %d messages, want 51", n)
	}
}

// TestCluster runs on three servers, kills the leader of the stream while publishing, and wants
// everything acknowledged to be there, in order.
func TestCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	if testing.Short() {
		t.Skip("three servers take some seconds")
	}
	servers := natsCluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	b := open(t, backbone.Config{URL: strings.Join(urls, ","), Log: slog.New(slog.DiscardHandler)})
	checkWorks(t, b)
	checkTimers(t, b)
	stop := make(chan struct{})
	var mu sync.Mutex
	acked := map[uint64]string{}
	var all sync.WaitGroup
	for p := range 40 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				text := fmt.Sprintf("%d %d", p, n)
				answer := make(chan result, 1)
				b.Publish(backbone.Message{Subject: "up.s1.car.batch", Data: []byte(text)}, func(seq uint64, err error) { answer <- result{seq, err} })
				if got := <-answer; got.err == nil {
					mu.Lock()
					acked[got.seq] = text
					mu.Unlock()
				} else {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	killLeader(servers)
	time.Sleep(1500 * time.Millisecond)
	close(stop)
	waitFor(t, &all)
	checkAcked(t, b, acked)
}

func killLeader(servers []*server.Server) {
	for _, s := range servers {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, backbone.Up) {
			s.Shutdown()
			return
		}
	}
}

func checkAcked(t *testing.T, b *backbone.Backbone, acked map[uint64]string) {
	t.Helper()
	info, err := b.Info(t.Context(), backbone.Up)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged while the leader went, %d stored", len(acked), info.Messages)
	last := uint64(0)
	for _, m := range readAll(t, b, backbone.Up, 0, int(info.Messages)) {
		if m.Sequence <= last {
			t.Fatalf("got sequence %d after %d", m.Sequence, last)
		}
		last = m.Sequence
		if want, ok := acked[m.Sequence]; ok && want != string(m.Data) {
			t.Fatalf("sequence %d: got %q, want %q", m.Sequence, m.Data, want)
		}
		delete(acked, m.Sequence)
	}
	if len(acked) != 0 {
		t.Errorf("%d acknowledged messages are gone", len(acked))
	}
}

// natsCluster runs three servers that know each other.
func natsCluster(t *testing.T) []*server.Server {
	t.Helper()
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		_ = l.Close()
	}
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	servers := make([]*server.Server, 3)
	for i, port := range ports {
		servers[i] = natsServer(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		})
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 {
				return servers
			}
		}
	}
	t.Fatal("the cluster does not form")
	return nil
}
