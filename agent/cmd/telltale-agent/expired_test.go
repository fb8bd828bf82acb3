package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol/can"
)

// TestExpiredCertificate: a device whose certificate has ended, or whose clock is
// wrong, says so, and collects and buffers all the same.
func TestExpiredCertificate(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name       string
		start, end time.Time
		want       string
	}{
		{"ended", now.Add(-48 * time.Hour), now.Add(-24 * time.Hour), "certificate has expired"},
		{"not begun", now.Add(24 * time.Hour), now.Add(48 * time.Hour), "certificate is not valid yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hub := startHub(t)
			id, data := newIdentity(t, test.start, test.end), t.TempDir()
			campaign := filepath.Join(t.TempDir(), "all.yaml")
			if err := os.WriteFile(campaign, []byte("{apiVersion: campaigns.v1, kind: Campaign, metadata: {id: all, revision: 1}, spec: {collect: [{id: all}]}}"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("telltale-agent", append([]string{
				"run", "--data", data, "--can", "can0=" + hub.URL("can0"), "--dbc", "can0=../../../simulator/recordings/toyota_new_mc_pt.dbc",
				"--endpoint", broker(t, id, 0), "--drain", "0s", "--report", "20ms", "--campaign", campaign,
			}, id.flags()...)...)
			var log bytes.Buffer
			cmd.Stderr = &log
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watch := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer watch.Stop()
			for reports := bufio.NewScanner(out); reports.Scan() && !strings.Contains(reports.Text(), `"frames_decoded":1,`); {
				if hub.Bus("can0").Frames() == 0 && strings.Contains(reports.Text(), `"attached":1,`) {
					hub.Bus("can0").Send([]can.Frame{{Time: time.Now().UnixMicro(), ID: 0x25, Len: 8}})
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, &log)
			}
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("got %s, want %q", &log, test.want)
			}
			kept, err := buffer.Inspect(filepath.Join(data, "buffer"))
			if err != nil || kept.Waiting.Samples == 0 {
				t.Errorf("got %+v and %v, want samples that wait", kept.Waiting, err)
			}
		})
	}
}
