package collect

import (
	"time"

	"telltale.dev/agent/signals"
	"telltale.dev/protocol"
	"telltale.dev/protocol/schemas"
)

// Account counts what the pipeline has seen.
type Account = signals.Account

// Capture is what batches belong to: rows of one rule, from when it was opened
// to when it is closed. A rule that collects all the time has one capture, a
// rule with a window has one for each moment. Batches of two captures are never
// mixed, also when they have one schema. A Capture never changes; when its
// schema must change another one takes its place.
type Capture struct {
	Campaign protocol.CampaignID
	Rule     string
	Class    protocol.Priority
	Purpose  string
	Age      time.Duration // batches are closed at this age in source time,
	SmallAge time.Duration // those that grow slowly at this one (campaigns.Campaign.SmallAge),
	Bytes    int           // or at this size
	Schema   *schemas.Schema
	Hash     protocol.SchemaHash // of the schema's document
	Moment   int64               // when the rule's trigger fired, in µs since the Unix epoch; 0: it collects all the time
}

// Row is one row that a capture wants. Its values are Raw[Offset:Offset+Count] of
// its block, one for each signal of the schema's group.
type Row struct {
	Capture int32 // index into the block's Captures
	Group   int32 // of the capture's schema
	Time    int64 // µs since the Unix epoch
	Offset  int32
	Count   int32
	Bits    int32 // offset into Present of the row's bitmap of present signals; -1: all are present
}

// Block is a run of rows with the captures that they belong to.
type Block struct {
	Captures []*Capture // open as of this block; shared, never changed
	Rows     []Row
	Raw      []int64 // values of the rows, and others that belong to none
	Present  []uint64
	// Now is the source time as of the block, in µs since the Unix epoch, also when nobody wanted a row.
	Now     int64
	Account Account
}

// Values gives the raw values of r.
func (b *Block) Values(r *Row) []int64 { return b.Raw[r.Offset : r.Offset+r.Count] }

// Bitmap gives the presence bits of r, nil when all are present.
func (b *Block) Bitmap(r *Row) []uint64 {
	if r.Bits < 0 {
		return nil
	}
	return b.Present[r.Bits : int(r.Bits)+(int(r.Count)+63)/64]
}

// refer appends a row whose values are those of a row of the block of which b has the values.
func (b *Block) refer(capture, group int32, r *signals.Row) {
	b.Rows = append(b.Rows, Row{Capture: capture, Group: group, Time: r.Time, Offset: r.Offset, Count: r.Count, Bits: -1})
}

// add appends a row of the taken values.
func (b *Block) add(capture, group int32, t int64, raw []int64, take []int) {
	offset := len(b.Raw)
	b.Raw = appendTaken(b.Raw, raw, take)
	b.Rows = append(b.Rows, Row{Capture: capture, Group: group, Time: t, Offset: int32(offset), Count: int32(len(b.Raw) - offset), Bits: -1})
}
