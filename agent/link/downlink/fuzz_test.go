package downlink_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"telltale.dev/agent/link/downlink"
)

// FuzzInbox: whatever a file of the inbox holds, the agent starts, the message is taken once or counted as damaged, and the file is gone.
func FuzzInbox(f *testing.F) {
	f.Add([]byte("TTDOWN1\n\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("TTDOWN1\n"))
	f.Add([]byte{})
	f.Add(file(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000000000000000001.message"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			r := run(t, dir, nil)
			synctest.Wait()
			if got := r.Stats(); len(r.took())+got.Damaged+int(got.Expired) > 1 || got.Waiting != 0 {
				t.Errorf("got %d taken, %+v", len(r.took()), got)
			}
			r.stop()
		})
		if left := files(t, dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// file is a good one.
func file(tb testing.TB) []byte {
	tb.Helper()
	var data []byte
	cfg := downlink.Config{Dir: tb.TempDir(), Vehicle: vid, Write: func(_ string, d []byte) error { data = d; return nil }}
	cfg.Routes = (&rig{}).config("").Routes
	d, err := downlink.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	written := make(chan struct{})
	d.Receive(downlink.Arrival{Message: downlink.Message{Topic: unlock, Payload: []byte("x"), QoS: 1}, Answer: func(byte, string) { close(written) }}, nil)
	<-written
	cancel()
	<-ended
	return data
}
