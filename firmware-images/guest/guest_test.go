package guest_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"telltale.dev/firmware-images/guest"
)

func TestFramesReadBack(t *testing.T) {
	var channel bytes.Buffer
	w := guest.NewWriter(&channel)
	sent := []struct {
		kind    guest.Kind
		payload string
	}{{guest.Hello, ""}, {guest.Stdout, "a line\n"}, {guest.Exit, "\x00\x00\x00\x01"}}
	for _, s := range sent {
		if err := w.Write(s.kind, []byte(s.payload)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sent {
		kind, payload, err := guest.Read(&channel)
		if err != nil || kind != s.kind || string(payload) != s.payload {
			t.Errorf("got %d %q, %v; want %d %q", kind, payload, err, s.kind, s.payload)
		}
	}
	if _, _, err := guest.Read(&channel); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
	if err := w.Write(guest.Stdout, make([]byte, 1<<20+1)); err == nil {
		t.Error("a frame that Read refuses was written")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x01x"))
	f.Add([]byte("\x02\x00\x00"))
	f.Add([]byte("\x02\x00\x00\x00\x01"))
	f.Add([]byte("\x07\x00\x00\x00\x00"))
	f.Add([]byte("\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, channel []byte) {
		kind, payload, err := guest.Read(bytes.NewReader(channel))
		if err != nil {
			if errors.Is(err, io.EOF) && len(channel) > 0 {
				t.Errorf("%x: io.EOF inside a frame", channel)
			}
			return
		}
		var again bytes.Buffer
		if err := guest.NewWriter(&again).Write(kind, payload); err != nil || !bytes.HasPrefix(channel, again.Bytes()) {
			t.Errorf("%x reads as %d %x, which writes as %x, %v", channel, kind, payload, again.Bytes(), err)
		}
	})
}
