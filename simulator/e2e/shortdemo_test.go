package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/simulator/ledger"
)

// TestPowerCutOfAShortLog cuts the power in a drive of six seconds, which is shorter than
// the agent's own commit interval: the cut must hit a write and cost little all the same.
func TestPowerCutOfAShortLog(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes for ten seconds")
	}
	t.Parallel()
	built, dir := programs(t), t.TempDir()
	log := filepath.Join(dir, "short.log")
	cutLog(t, filepath.Join(recordings, "rav4.log.zst"), log, 10_000)
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "telltale"), "demo", "--faults", "power", "--speed", "1", "--json",
		"--data", filepath.Join(dir, "data"), "--log", log, "--dbc", "can0="+filepath.Join(recordings, "toyota_new_mc_pt.dbc"))
	var screen bytes.Buffer
	cmd.Stderr = &screen
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("telltale demo: %v\n%s%s", err, out, screen.String())
	}
	if all := string(out) + screen.String(); !strings.Contains(all, "power cut of demo in the middle of a write after") {
		t.Errorf("got no word of a write that the cut hit in\n%s", all)
	}
	var l ledger.Ledger
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &l); err != nil {
		t.Fatalf("last line: %v", err)
	}
	if l.FramesSent != 10_000 || l.FramesUnpowered == 0 || l.FramesUnpowered > l.FramesSent/2 {
		t.Errorf("got %d of %d frames unpowered, want some of 10,000, less than half", l.FramesUnpowered, l.FramesSent)
	}
}

// cutLog writes the first lines of a compressed log.
func cutLog(t *testing.T, from, to string, lines int) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	plain, err := zstd.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	var text bytes.Buffer
	for scan := bufio.NewScanner(plain); lines > 0 && scan.Scan(); lines-- {
		text.Write(append(scan.Bytes(), '\n'))
	}
	if err := os.WriteFile(to, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
