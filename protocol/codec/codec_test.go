package codec_test

import (
	"math"
	"reflect"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/codec"
)

func schemaOf(mode protocol.Mode, widths ...int) *codec.Schema {
	s := &codec.Schema{Version: 1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: mode, DBC: [][32]byte{{1}}}
	for g, w := range widths {
		var members []uint32
		for i := range w {
			members = append(members, uint32(len(s.Signals)))
			s.Signals = append(s.Signals, codec.Signal{Name: "s", Message: "m", Bus: "can0", ID: can.ID(g), Start: i, Length: 8, Scale: "0.1", Offset: "-3"})
		}
		s.Groups = append(s.Groups, members)
	}
	return s
}

var header = codec.Header{ID: protocol.MessageID{Device: "t1", Boot: protocol.BootID{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 7}}

func TestRoundTrip(t *testing.T) {
	s := schemaOf(protocol.ModeAll, 3, 1)
	doc, hash, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err = codec.ParseSchema(doc)
	if err != nil {
		t.Fatal(err)
	}
	e := codec.NewEncoder(s, hash.ID())
	extremes := []int64{0, math.MinInt64, math.MaxInt64, -1, 1, int64(math.Float64bits(3.25)), 1 << 40}
	var times []int64
	for i := range 100 {
		at := int64(1_700_000_000_000_000 + i*10_037)
		times = append(times, at/1000*1000)
		e.Add(0, at, []int64{int64(i), extremes[i%len(extremes)], 5})
		e.Add(1, at, []int64{int64(i * i % 17)})
	}
	h := header
	h.Evicted = []protocol.SeqRange{{From: 1, To: 4}}
	h.Drops = 9
	payload, err := e.Encode(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(payload), e.Size())
	b, err := codec.Decode(payload, s)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.Rows[0].Time, times) {
		t.Errorf("got times %v", b.Rows[0].Time)
	}
	for i := range 100 {
		if b.Rows[0].Columns[1][i] != extremes[i%len(extremes)] {
			t.Fatalf("row %d got %d", i, b.Rows[0].Columns[1][i])
		}
		if b.Rows[1].Columns[0][i] != int64(i*i%17) {
			t.Fatalf("row %d got %d", i, b.Rows[0].Columns[1][i])
		}
	}
	got, err := codec.ParseHeader(payload)
	h.Schema = hash.ID()
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("got %v %v", got, err)
	}
}
