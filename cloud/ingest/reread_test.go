package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"telltale.dev/cloud/ingest/ledger"
)

// away is a stream that gives nothing, and has what it says.
type away struct {
	first, last uint64
	err         error
}

func (away) Read(context.Context, uint64, int, time.Duration) ([]Message, error) { return nil, nil }

func (s away) Kept(context.Context) (first, last uint64, err error) { return s.first, s.last, s.err }

// TestRereadSilence: a message is gone when the stream says so, not when the stream only gives nothing.
func TestRereadSilence(t *testing.T) {
	broken := errors.New("the server is away")
	tests := []struct {
		name   string
		stream away
		gone   bool
		err    error
	}{
		{"there", away{1, 9, nil}, false, errSilent},
		{"the oldest and newest", away{5, 5, nil}, false, errSilent},
		{"trimmed", away{6, 9, nil}, true, nil},
		{"all deleted", away{10, 9, nil}, true, nil},
		{"torn off", away{1, 4, nil}, true, nil},
		{"not to be asked", away{0, 0, broken}, false, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rereader{stream: tt.stream}
			var wanted ledger.Ranges
			wanted.Add(one(5))
			for read := 1; read <= 2*idleReads; read++ {
				m, gone, err := r.message(t.Context(), 5, &wanted)
				asked := read%idleReads == 0
				if m != nil || gone != (asked && tt.gone) || asked && !errors.Is(err, tt.err) || !asked && err != nil {
					t.Fatalf("read %d: got gone %v and %v, want %v and %v", read, gone, err, tt.gone, tt.err)
				}
			}
		})
	}
}
