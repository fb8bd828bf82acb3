package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer runs a NATS server on a port, as somebody else would.
func natsServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

// TestDemoNATS drives with the cloud's streams on an external server, twice in two folders: it adds up each time.
func TestDemoNATS(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	s, dir := natsServer(t), t.TempDir()
	for name, text := range map[string]string{
		"tiny.log": "(1.000000) can0 100#28000100\n(1.500000) can0 100#29000100\n(2.000000) can0 100#2A000100\n",
		"tiny.dbc": "VERSION \"\"\nBU_: ECU\nBO_ 256 Motor: 4 ECU\n SG_ Speed : 0|16@1+ (0.25,-10) [0|0] \"rpm\" ECU\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{"first", "second"} {
		out, err := paste(t.Context(), dir, "telltale demo --log tiny.log --dbc tiny.dbc --faults none --speed 1 --json --data "+data+" --nats "+s.ClientURL())
		if err != nil || !strings.Contains(out, `"samples_stored":3,`) {
			t.Errorf("%s: got %v and %s, want 3 samples stored", data, err, out)
		}
		if got, err := s.Jsz(nil); err != nil || got.Streams == 0 {
			t.Errorf("%s: got %+v and %v, want the cloud's streams on the server", data, got, err)
		}
	}
}
