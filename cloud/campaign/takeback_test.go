package campaign_test

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
)

// TestTakeBack: what was stored before revisions had a bound is loaded, and can be taken back, too.
func TestTakeBack(t *testing.T) {
	for _, revision := range []uint64{1, campaigns.MaxRevision, campaigns.MaxRevision + 5, math.MaxUint64} {
		t.Run(fmt.Sprint(revision), func(t *testing.T) {
			s := start(t)
			s.push("c", doc("c", 1, ""))
			stored := s.document("anna")
			stored.Campaigns[0].Metadata.Revision = revision
			data, err := document.Marshal(stored)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.store.Put(t.Context(), "set", data); err != nil {
				t.Fatal(err)
			}
			s.open()
			if list := s.List(); len(list) != 1 || list[0].Metadata.Revision != revision {
				t.Fatalf("got %+v from the store, want revision %d", list, revision)
			}
			if found, err := s.TakeBack(t.Context(), "c"); !found || err != nil {
				t.Fatalf("got %v, %v", found, err)
			}
			if n := len(s.List()); n != 0 {
				t.Errorf("%d campaigns are left", n)
			}
			if r := s.result("c"); r.State != document.Removed {
				t.Errorf("got the result %+v, want it removed", r)
			}
			if found, err := s.TakeBack(t.Context(), "c"); found || err != nil {
				t.Errorf("got %v, %v the second time", found, err)
			}
		})
	}
}

// TestTakeBackStoreRefuses: then the campaign is still there.
func TestTakeBackStoreRefuses(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	s.store.fail = errors.New("full")
	if found, err := s.TakeBack(t.Context(), "c"); !found || !errors.Is(err, s.store.fail) {
		t.Errorf("got %v, %v", found, err)
	}
	if n := len(s.List()); n != 1 {
		t.Errorf("got %d campaigns, want 1", n)
	}
}

// TestTakeBackWhilePushing: a push in between never makes it fail.
func TestTakeBackWhilePushing(t *testing.T) {
	s := start(t)
	s.push("c", doc("c", 1, ""))
	var pushes sync.WaitGroup
	pushes.Go(func() {
		for revision := 2; revision < 100; revision++ {
			if _, err := s.Push(t.Context(), "c", []byte(doc("c", revision, "")), nil); err != nil {
				t.Error(err)
			}
		}
	})
	for range 100 {
		if _, err := s.TakeBack(t.Context(), "c"); err != nil {
			t.Error(err)
		}
	}
	pushes.Wait()
}
