package updates_test

import (
	"testing"

	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/updates"
)

// FuzzUpdate: an update document or feedback that is accepted means the same when it is written again.
func FuzzUpdate(f *testing.F) {
	f.Add(documenttest.Marshal(f, updates.Update{Version: 1, Revision: 3, ID: "u1", Device: "tcu", File: updates.FileHash{1}, Size: 10, After: 4}))
	f.Add(documenttest.Marshal(f, updates.Feedback{
		Version: 1, Device: "tcu", Update: "u1", State: updates.Failed, Sequence: 2, Reason: reasons.WrongKey,
		Running: updates.Running{Version: "1.0", Slot: "A"},
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var doc updates.Update
		if document.Unmarshal(data, &doc) == nil && doc.Validate() == nil {
			documenttest.SameAgain(t, data, doc)
		}
		var feedback updates.Feedback
		if document.Unmarshal(data, &feedback) == nil && feedback.Validate() == nil {
			documenttest.SameAgain(t, data, feedback)
		}
	})
}
