package ingest

import (
	"context"
	"errors"
	"fmt"
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

// mute is a stream of three dead letters that gives nothing at so many reads.
type mute struct {
	reads int
	next  uint64 // as Next says
}

func (m *mute) Read(_ context.Context, from uint64, _ int, _ time.Duration) (list []Message, _ error) {
	if m.reads--; m.reads >= 0 {
		return nil, nil
	}
	for ; from <= 3; from++ {
		list = append(list, Message{Sequence: from, Header: map[string]string{HeaderOrigin: fmt.Sprintf("UP/%d", from)}})
	}
	return list, nil
}

func (m *mute) Last(context.Context) (uint64, error)             { return 3, nil }
func (m *mute) Next(_ context.Context, _ uint64) (uint64, error) { return m.next, nil }

// TestLettersSilence: a dead-letter stream that gives nothing for a while has not ended, unless it says so.
func TestLettersSilence(t *testing.T) {
	for _, c := range []struct {
		name    string
		letters mute
		found   int
		err     error
	}{
		{"at once", mute{0, 1}, 3, nil},
		{"after some reads", mute{idleReads - 1, 1}, 3, nil},
		{"silent", mute{idleReads, 1}, 0, errSilent},
		{"all deleted", mute{idleReads, 0}, 0, nil},
		{"all new", mute{idleReads, 4}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Processor{cfg: ProcessorConfig{Name: "UP", Letters: &c.letters}, written: map[string]struct{}{}}
			if err := p.readLetters(t.Context()); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(p.written) != c.found {
				t.Errorf("got %d letters and %v, want %d and %v", len(p.written), err, c.found, c.err)
			}
		})
	}
}
