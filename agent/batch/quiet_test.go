package batch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/agent/collect"
	"telltale.dev/protocol"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// quiet is the recording of a car that says little: some 110 samples a second.
func quiet(t *testing.T) *recording {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recordings, "canedge-internal-can9.dbc"))
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := dbc.Parse("ev6", text)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{frames: make([][]can.Frame, len(inputs))}
	if r.plan, _, err = dbc.Compile([]dbc.Source{{Bus: inputs[0], Files: []*dbc.File{file}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.read("ev6.log.zst"); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestQuietCar: the batches of a car that says little wait until they are 20 s old, for header and times are a large part
// of them; those of a campaign that names an age or is in a hurry do not. The bytes are what the stages make of the
// recording, from frames on.
func TestQuietCar(t *testing.T) {
	r := quiet(t)
	for _, test := range []struct {
		name   string
		change func(*campaigns.Spec)
		want   string
	}{
		{"bulk", func(*campaigns.Spec) {}, "90863 bytes, 205608 samples, 95 batches, 0.4419 bytes a sample"},
		{"an age", func(s *campaigns.Spec) { s.Encoding.Batch.Age = "10s" }, "112648 bytes, 205608 samples, 188 batches, 0.5479 bytes a sample"},
		{"hot", func(s *campaigns.Spec) { s.Priority = protocol.CS3.String() }, "112648 bytes, 205608 samples, 188 batches, 0.5479 bytes a sample"},
	} {
		st := &store{}
		sealer := sealerOn(st)
		p := newPipeline(t, r, func(block *collect.Block) { add(t, sealer, block) })
		c := campaigns.Everything()
		test.change(&c.Spec)
		p.collect(c)
		for i := range r.all {
			p.feed(r.all[i].bus, []can.Frame{r.all[i].frame})
		}
		p.end()
		if err := sealer.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		bytes, samples := 0, 0
		for i := range st.sealed {
			bytes, samples = bytes+len(st.sealed[i].Payload), samples+int(st.sealed[i].Samples)
		}
		got := fmt.Sprintf("%d bytes, %d samples, %d batches, %.4f bytes a sample", bytes, samples, len(st.sealed), float64(bytes)/float64(samples))
		if got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
