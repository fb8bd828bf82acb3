package fleet

import (
	"bytes"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
)

// TestNoise: random payloads have the size asked for, within some bytes, differ, and are a status that a reader takes.
func TestNoise(t *testing.T) {
	for _, size := range []int{1, 64, 300, 1 << 10, 100 << 10} {
		n, err := newNoise(size)
		if err != nil {
			t.Fatal(err)
		}
		var p packets.Publish
		var buf, before []byte
		for seq := range uint64(3) {
			if buf, err = n.fill(&p, protocol.MessageID{Seq: seq + 1}, buf); err != nil {
				t.Fatal(err)
			}
			var status document.Status
			if err := document.UnmarshalOpen(p.Payload, &status); err != nil || status.Document != "load" || len(status.Results) > 0 {
				t.Errorf("%d bytes: got %+v, %v", size, status, err)
			}
			if got := len(p.Payload); got > max(size, 50) || got < size-8 {
				t.Errorf("got %d bytes, want %d", got, size)
			}
			if bytes.Equal(before, p.Payload) && size > 64 {
				t.Errorf("%d bytes: the same twice", size)
			}
			before = bytes.Clone(p.Payload)
		}
	}
}
