//go:build linux

package job

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"telltale.dev/firmware-images/guest"
)

// frames reads what was sent, with the payloads of each kind put together.
func frames(t *testing.T, sent *bytes.Buffer) map[guest.Kind]string {
	t.Helper()
	all := map[guest.Kind]string{}
	for {
		kind, payload, err := guest.Read(sent)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[kind] += string(payload)
	}
}

// TestExitCode: the host learns what the program printed and how it ended.
func TestExitCode(t *testing.T) {
	for script, want := range map[string]struct {
		code        int
		stdout, err string
	}{
		"echo out; echo err >&2":       {0, "out\n", "err\n"},
		"exit 7":                       {7, "", ""},
		"kill -9 $$":                   {128 + 9, "", ""},
		"head -c 100000 /dev/zero >&2": {0, "", string(make([]byte, 100_000))}, // more than one frame
	} {
		var sent bytes.Buffer
		code, err := exitCode(exec.Command("/bin/sh", "-c", script), guest.NewWriter(&sent))
		got := frames(t, &sent)
		if err != nil || code != want.code || got[guest.Stdout] != want.stdout || got[guest.Stderr] != want.err {
			t.Errorf("%s: got %d, %v, %d and %d bytes of output", script, code, err, len(got[guest.Stdout]), len(got[guest.Stderr]))
		}
	}
	if _, err := exitCode(exec.Command("/no/such/program"), guest.NewWriter(io.Discard)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

// TestSendFile: a file goes to the host in pieces with its number before each; one that was not written is left out.
func TestSendFile(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	if err := os.WriteFile(filepath.Join(dir, "3"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	out := guest.NewWriter(&sent)
	if err := errors.Join(sendFile(out, dir, 2), sendFile(out, dir, 3)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for sent.Len() > 0 {
		kind, payload, err := guest.Read(&sent)
		if err != nil || kind != guest.Output || !bytes.HasPrefix(payload, []byte{0, 0, 0, 3}) {
			t.Fatalf("got kind %d, %v", kind, err)
		}
		got = append(got, payload[4:]...)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, want %d", len(got), len(content))
	}
}
