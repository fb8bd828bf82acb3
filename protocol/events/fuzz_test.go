package events_test

import (
	"testing"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/events"
)

// FuzzStorage: a storage event that is accepted means the same when it is written again.
func FuzzStorage(f *testing.F) {
	f.Add(documenttest.Marshal(f, events.Storage{Version: 1, Device: "tcu", State: events.StorageKept, At: 1_790_000_000_000}))
	f.Add(documenttest.Marshal(f, events.Storage{Version: 1, Device: "tcu", State: events.StorageRecreated, Loss: "0123456789abcdef", Reason: "superblock: expected an ext4 file system"}))
	f.Add(documenttest.Marshal(f, events.Storage{Version: 1, Device: "tcu", State: events.StorageMemoryOnly, Loss: "a", At: -1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s events.Storage
		if document.Unmarshal(data, &s) == nil && s.Validate() == nil {
			documenttest.SameAgain(t, data, s)
		}
	})
}
