//go:build linux

package job

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"telltale.dev/firmware-images/guest"
)

// TestStream: what a program writes comes in frames of its kind, of at most one piece each, in order and complete.
func TestStream(t *testing.T) {
	for _, size := range []int{0, 1, piece, piece + 1, 3*piece - 1} {
		var channel bytes.Buffer
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		n, err := stream{guest.NewWriter(&channel), guest.Stderr}.Write(want)
		if n != size || err != nil {
			t.Errorf("%d bytes: got %d, %v", size, n, err)
		}
		var got []byte
		for {
			kind, payload, err := guest.Read(&channel)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if kind != guest.Stderr || len(payload) > piece {
				t.Errorf("%d bytes: got a frame of kind %d with %d bytes", size, kind, len(payload))
			}
			got = append(got, payload...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d bytes, or others", size, len(got))
		}
	}
}

// full takes the first frame and no other.
type full struct{ taken int }

var errFull = errors.New("full")

func (f *full) Write(p []byte) (int, error) {
	if f.taken > 0 {
		return 0, errFull
	}
	f.taken = len(p)
	return len(p), nil
}

// TestStreamOfAClosedHost: a host that takes no more ends the write with its error, and with what it has taken.
func TestStreamOfAClosedHost(t *testing.T) {
	n, err := stream{guest.NewWriter(new(full)), guest.Stdout}.Write(make([]byte, 2*piece))
	if n != piece || !errors.Is(err, errFull) {
		t.Errorf("got %d, %v, want %d and the host's error", n, err, piece)
	}
}
