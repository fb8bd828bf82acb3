package batches_test

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/batches/batchestest"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/dbc"
	"telltale.dev/protocol/schemas"
)

const recordings = "../../simulator/recordings"

// recording is a real log, decoded.
type recording struct {
	plan    *dbc.Plan
	layouts []int
	rows    []row
	samples int
}

type row struct {
	at      int64 // µs
	group   int   // position of its layout in recording.layouts
	raw     []int64
	present []uint64 // ModeOnChange
}

type source struct {
	bus, file string
	j1939     bool
}

var sources = map[string][]source{
	"rav4":    {{"can0", "toyota_new_mc_pt.dbc", false}, {"can1", "toyota_adas.dbc", false}},
	"canmod1": {{"can1", "OBD-v4.4.dbc", false}, {"can2", "canmod-gps.dbc", false}},
	"truck1":  {{"can1", "j1939.dbc", true}, {"can2", "canmod-gps.dbc", false}},
	"ev6":     {{"can0", "canedge-internal-can9.dbc", false}},
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
		r.rows = append(r.rows, row{at: f.Time, group: g, raw: append([]int64(nil), raw[:n]...)})
		r.samples += n
	}
}

// schema gives the schema of everything; its groups are r.layouts.
func (r *recording) schema(t testing.TB, mode protocol.Mode) (*schemas.Schema, protocol.SchemaID) {
	t.Helper()
	s, positions := schemas.Of(r.plan.Catalogue(), "everything", "all", mode, r.layouts, func(int) bool { return true })
	if len(positions) != len(r.layouts) {
		t.Fatalf("got %d groups, want %d", len(positions), len(r.layouts))
	}
	_, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s, hash.ID()
}

// TestRecordings: every sample of the recordings comes back, times cut to milliseconds.
func TestRecordings(t *testing.T) {
	for _, name := range names {
		for _, mode := range []protocol.Mode{protocol.ModeAll, protocol.ModeOnChange} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				r := load(t, name)
				s, id := r.schema(t, mode)
				rows := r.rows
				if mode == protocol.ModeOnChange {
					rows = r.changes(s)
				}
				e := batches.NewEncoder(s, id)
				next := 0
				drive(e, rows, 10*time.Second, func() {
					b, payload := recode(t, e, s)
					if size := e.Size(); size < len(payload)/3 || size > 3*len(payload)+1000 {
						t.Errorf("got size %d for %d bytes", size, len(payload))
					}
					verify(t, b, rows[next:next+e.Rows()])
					next += e.Rows()
					e.Reset()
				})
			})
		}
	}
}

// verify checks that the batch holds exactly these rows.
func verify(t *testing.T, b *batches.Batch, rows []row) {
	t.Helper()
	groups, at := map[int]*batches.GroupRows{}, map[int]int{}
	for i := range b.Rows {
		groups[b.Rows[i].Group] = &b.Rows[i]
	}
	for _, want := range rows {
		g, i := groups[want.group], at[want.group]
		at[want.group]++
		if g.Time[i] != want.at/1000*1000 {
			t.Fatalf("got time %d, want %d", g.Time[i], want.at)
		}
		for c, v := range want.raw {
			there := want.present == nil || want.present[c/64]>>(c%64)&1 == 1
			if g.Has(c, i) != there || there && g.Columns[c][i] != v {
				t.Fatalf("group %d row %d column %d: got %d, want %d", want.group, i, c, g.Columns[c][i], v)
			}
		}
	}
}

// TestSchemaSize keeps an eye on the documents of everything: they must fit an MQTT packet.
func TestSchemaSize(t *testing.T) {
	for _, name := range names {
		s, _ := load(t, name).schema(t, protocol.ModeAll)
		doc, _, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		packed, err := compress.Pack(doc)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := schemas.Parse(packed); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%s: got another schema from the packed document, error %v", name, err)
		}
		t.Logf("%s: %d signals in %d groups: %d bytes, packed %d", name, len(s.Signals), len(s.Groups), len(doc), len(packed))
		if len(doc) > protocol.MaxPacket {
			t.Errorf("%s: got %d bytes", name, len(doc))
		}
	}
}

// TestNoAllocation: once an Encoder has seen a batch, rows cost no allocation.
func TestNoAllocation(t *testing.T) {
	r := load(t, "rav4")
	s, id := r.schema(t, protocol.ModeAll)
	e := batches.NewEncoder(s, id)
	payload := make([]byte, 0, 1<<20)
	batch := func() {
		for i := range r.rows[:12_000] {
			e.Add(r.rows[i].group, r.rows[i].at, r.rows[i].raw)
		}
		var err error
		if payload, err = e.Encode(batchestest.Header, payload[:0]); err != nil {
			t.Fatal(err)
		}
		e.Reset()
	}
	batch()
	if got := testing.AllocsPerRun(5, batch); got > 2 {
		t.Errorf("got %v allocations for a batch of 12,000 rows", got)
	}
}

// TestPhysicalEqualsDBC: the schema's signals mean the same as the DBC file's.
func TestPhysicalEqualsDBC(t *testing.T) {
	for _, name := range names {
		r := load(t, name)
		s, _ := r.schema(t, protocol.ModeAll)
		s, _ = batchestest.Known(t, s)
		infos := r.plan.Signals()
		for _, row := range r.rows[:2000] {
			signals := r.plan.Layouts()[r.layouts[row.group]].Signals
			for c, m := range s.Groups[row.group] {
				info, raw := infos[signals[c]], row.raw[c]
				if got, want := s.Signals[m].Physical(raw), info.Physical(raw); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
					t.Fatalf("%s %s: got %v for raw %d, want %v", name, info.Name, got, raw, want)
				}
				got, _ := s.Signals[m].Text(raw)
				if want, _ := info.Text(raw); got != want {
					t.Fatalf("%s %s: got %q for raw %d, want %q", name, info.Name, got, raw, want)
				}
			}
		}
	}
}

func TestSchemaOfSelected(t *testing.T) {
	r := load(t, "rav4")
	infos, layouts := r.plan.Signals(), r.plan.Layouts()
	odd := func(signal int) bool { return signal%2 == 1 }
	s, positions := schemas.Of(r.plan.Catalogue(), "odd", "all", protocol.ModeAll, r.layouts, odd)
	if len(s.Groups) != len(positions) || len(s.Groups) == 0 {
		t.Fatalf("got %d groups and %d rows of positions", len(s.Groups), len(positions))
	}
	g := 0
	for _, l := range r.layouts {
		var want []string
		for _, signal := range layouts[l].Signals {
			if odd(int(signal)) {
				want = append(want, infos[signal].Name)
			}
		}
		if want == nil {
			continue
		}
		var got []string
		for i, m := range s.Groups[g] {
			got = append(got, s.Signals[m].Name)
			if name := infos[layouts[l].Signals[positions[g][i]]].Name; name != s.Signals[m].Name {
				t.Errorf("got position of %s for %s", name, s.Signals[m].Name)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("group %d: got %v, want %v", g, got, want)
		}
		g++
	}
	if g != len(s.Groups) {
		t.Errorf("got %d groups, want %d", len(s.Groups), g)
	}
}

func TestSchemaRoundTrip(t *testing.T) {
	for _, name := range names {
		s, _ := load(t, name).schema(t, protocol.ModeOnChange)
		doc, hash, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := schemas.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got another schema than was written", name)
		}
		again, second, err := got.Encode()
		if err != nil || second != hash || !bytes.Equal(again, doc) {
			t.Errorf("%s: got hash %v, %v; want %v", name, second, err, hash)
		}
	}
}
