package virtual_test

import (
	"bytes"
	"testing"

	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

// FuzzMessage checks that what is read as frames is written as the same bytes.
func FuzzMessage(f *testing.F) {
	f.Add(virtual.EncodeMessage(canbustest.Numbered(0, 3), 7))
	f.Add(virtual.EncodeMessage([]can.Frame{{Flags: can.FD | can.BRS, Len: 64}, {Flags: can.Remote, Len: 8}, {Flags: can.Error, ID: 0x80, Len: 8}}, 0))
	f.Add([]byte("\x02failure"))
	f.Fuzz(func(t *testing.T, body []byte) {
		frames, dropped, err := virtual.DecodeMessage(body)
		if err != nil {
			return
		}
		if again := virtual.EncodeMessage(frames, dropped); !bytes.Equal(again, body) {
			t.Fatalf("got %x, want %x", again, body)
		}
	})
}

// FuzzHello checks the same of a reader's first words.
func FuzzHello(f *testing.F) {
	f.Add([]byte("TTVC\x01\x07\x00\x00\x00\x04can0\x05agent"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		again, err := virtual.RepeatHello(raw)
		if err == nil && !bytes.HasPrefix(raw, again) {
			t.Fatalf("got %x, want %x", again, raw)
		}
	})
}

// FuzzURL checks that what is read as a URL is written as one that means the same.
func FuzzURL(f *testing.F) {
	f.Add("virtual:///tmp/h.sock?bus=can0&name=a&wait=3s")
	f.Add("virtual://127.0.0.1:4711/can0")
	f.Add("virtual:///tmp/%3F.sock?bus=can0")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := virtual.ParseURL(text)
		if err != nil {
			return
		}
		if again, err := virtual.ParseURL(a.URL()); err != nil || again != a {
			t.Fatalf("%q became %q: got %+v, %v, want %+v", text, a.URL(), again, err, a)
		}
	})
}
