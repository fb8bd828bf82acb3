package cloud_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// smallDisk mounts a file system in memory of so many MiB; grow makes it larger.
func smallDisk(t *testing.T, size int) (dir string, grow func(size int)) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v (needs root)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir, func(size int) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm", size)); err != nil {
			t.Fatal(err)
		}
	}
}

// sharedLog is a log that is read while it is written.
type sharedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *sharedLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestLowDisk: a disk that is low at the start is said in the log, by the health, in a metric and in every
// refusal, and all of them take it back when there is room.
func TestLowDisk(t *testing.T) {
	dir, grow := smallDisk(t, 220)
	var log sharedLog
	cfg := config(filepath.Join(dir, "data"))
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, cfg)
	car := s.device("car1", "tcu")
	const says = "MiB free, 256 MiB are kept free: refusing"
	s.eventually(func() string {
		if n := log.count(says); n != 1 {
			return fmt.Sprintf("the log says it %d times, want once", n)
		}
		return ""
	})
	m := newTelemetry(t, "everything")
	batch := m.batch("tcu", 1, time.Now(), 5000, 3)
	for range 3 {
		ack, err := car.Publish(t.Context(), &paho.Publish{Topic: m.topic("car1"), QoS: 1, Payload: batch})
		if ack == nil {
			t.Fatal(err)
		}
		if ack.ReasonCode != 0x97 || !strings.Contains(ack.Properties.ReasonString, says) {
			t.Errorf("PUBACK: got 0x%02X %q, want 0x97 and why", ack.ReasonCode, ack.Properties.ReasonString)
		}
	}
	if code, text := s.body("/v1/health"); code != http.StatusServiceUnavailable || !strings.Contains(text, says) {
		t.Errorf("health: got %d %s, want 503 and why", code, text)
	}
	if _, text := s.body("/metrics"); !strings.Contains(text, "telltale_backbone_refusing 1") || !strings.Contains(text, "telltale_ingest_full_total 3") {
		t.Error("the metrics do not tell that everything is refused")
	}
	grow(600)
	s.eventually(func() string {
		if code, text := s.body("/v1/health"); code != http.StatusOK {
			return fmt.Sprintf("health with room: got %d %s, want 200", code, text)
		}
		return ""
	})
	car.stored(m.topic("car1"), batch)
	if log.count(says) != 1 || log.count("messages are taken again") != 1 {
		t.Errorf("got %d lines when it began and %d when it ended, want one each", log.count(says), log.count("messages are taken again"))
	}
}

// TestDiskFilledByAnother: a program that takes all of the disk in the middle of everything ends nothing, and
// nothing that was acknowledged is lost.
func TestDiskFilledByAnother(t *testing.T) {
	dir, _ := smallDisk(t, 500)
	s := start(t, config(filepath.Join(dir, "data")))
	m := newTelemetry(t, "everything")
	car := s.device("car1", "tcu")
	car.stored(m.schemaTopic("car1"), m.doc)
	stored, seq := 0, uint64(0)
	send := func() byte {
		seq++
		code := car.send(m.topic("car1"), m.batch("tcu", seq, time.Unix(1_700_000_000+int64(seq), 0), 5000, 3))
		if code == 0 {
			stored++
		}
		return code
	}
	for range 50 {
		send()
	}
	ballast := filepath.Join(dir, "ballast")
	filled := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			var f *os.File
			if f, err = os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
				_, err = f.Write(make([]byte, 1<<20))
				f.Close()
			}
		}
		filled <- err
	}()
	for range 60 {
		send()
	}
	<-filled
	if code := send(); code == 0 {
		t.Error("a batch was stored on a full disk")
	}
	if code, text := s.body("/v1/health"); code != http.StatusServiceUnavailable {
		t.Errorf("health: got %d %s, want 503", code, text)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() string {
		if code := send(); code != 0 {
			return fmt.Sprintf("with room again: got PUBACK 0x%02X, want 0", code)
		}
		return ""
	})
	s.stop()
	if got := len(s.lakeRows()); got < 2*stored {
		t.Errorf("got %d rows in the lake, want at least %d", got, 2*stored)
	}
}
