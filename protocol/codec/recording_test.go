package codec_test

import (
	"bufio"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/codec"
	"telltale.dev/protocol/dbc"
)

const recordings = "../../simulator/recordings"

// recording is a real log, decoded.
type recording struct {
	plan    *dbc.Plan
	hashes  [][32]byte
	layouts []int
	rows    []row
	samples int
}

type row struct {
	at    int64 // µs
	group int   // position of its layout in recording.layouts
	raw   []int64
}

type source struct {
	bus, file string
	j1939     bool
}

var sources = map[string][]source{
	"rav4":    {{"can0", "toyota_new_mc_pt.dbc", false}, {"can1", "toyota_adas.dbc", false}},
	"canmod1": {{"can1", "OBD-v4.4.dbc", false}, {"can2", "canmod-gps.dbc", false}},
	"truck1":  {{"can1", "j1939.dbc", true}, {"can2", "canmod-gps.dbc", false}},
}

var loaded sync.Map

// load decodes a recording once for all tests.
func load(t testing.TB, name string) *recording {
	t.Helper()
	if r, ok := loaded.Load(name); ok {
		return r.(*recording)
	}
	r := &recording{}
	var in []dbc.Source
	bus := map[string]int{}
	for i, s := range sources[name] {
		text, err := os.ReadFile(filepath.Join(recordings, s.file))
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := dbc.Parse(s.file, text)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, dbc.Source{Bus: s.bus, Files: []*dbc.File{f}, J1939: s.j1939})
		r.hashes = append(r.hashes, f.Hash)
		bus[s.bus] = i
	}
	plan, _, err := dbc.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r.plan = plan
	for l, layout := range plan.Layouts() {
		if !layout.Short {
			r.layouts = append(r.layouts, l)
		}
	}
	r.read(t, filepath.Join(recordings, name+".log.zst"), bus)
	loaded.Store(name, r)
	return r
}

func (r *recording) read(t testing.TB, path string, bus map[string]int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	raw := make([]int64, r.plan.MaxSignals())
	groups := map[int]int{}
	for g, l := range r.layouts {
		groups[l] = g
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var f can.Frame
		name, err := can.ParseCandump(lines.Bytes(), &f)
		if err != nil {
			t.Fatal(err)
		}
		b, ok := bus[string(name)]
		if !ok {
			continue
		}
		layout, n := r.plan.Decode(b, &f, raw)
		if layout < 0 {
			continue
		}
		g, ok := groups[layout]
		if !ok { // a short one
			g = len(r.layouts)
			groups[layout] = g
			r.layouts = append(r.layouts, layout)
		}
		r.rows = append(r.rows, row{f.Time, g, append([]int64(nil), raw[:n]...)})
		r.samples += n
	}
}

// schema gives the schema of everything; its groups are r.layouts.
func (r *recording) schema(t testing.TB, mode protocol.Mode) (*codec.Schema, protocol.SchemaID) {
	t.Helper()
	s, positions := codec.SchemaOf(r.plan, "everything", "all", mode, r.hashes, r.layouts, func(int) bool { return true })
	if len(positions) != len(r.layouts) {
		t.Fatalf("got %d groups, want %d", len(positions), len(r.layouts))
	}
	_, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s, hash.ID()
}
