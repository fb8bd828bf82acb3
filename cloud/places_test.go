package cloud

import (
	"strings"
	"testing"
)

func TestPlacesWithinTheLimit(t *testing.T) {
	wanted, least := wantedPlaces(), leastPlaces()
	for limit, want := range map[int]places{
		wanted.descriptors():     wanted,
		wanted.descriptors() + 1: wanted,
		1 << 20:                  wanted,
		least.descriptors():      least,
	} {
		if got, err := wanted.within(limit); err != nil || got != want {
			t.Errorf("limit %d: got %+v, %v, want %+v", limit, got, err, want)
		}
	}
	for limit := least.descriptors(); limit < wanted.descriptors(); limit += 97 {
		got, err := wanted.within(limit)
		if err != nil || got.descriptors() > limit {
			t.Fatalf("limit %d: got %+v with %d descriptors, %v", limit, got, got.descriptors(), err)
		}
		if got.clients < least.clients || got.strangers < least.strangers || got.downloads < least.downloads || got.requests < least.requests {
			t.Fatalf("limit %d: got %+v, want at least %+v", limit, got, least)
		}
	}
	for _, limit := range []int{0, 256, least.descriptors() - 1} {
		if _, err := wanted.within(limit); err == nil || !strings.Contains(err.Error(), "expected at least") {
			t.Errorf("limit %d: got %v, want a refusal that says what is needed", limit, err)
		}
	}
}
