package batches_test

import (
	"fmt"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// A vehicle writes rows of raw values; a cloud that knows the schema's document reads them.
func Example() {
	schema := &schemas.Schema{
		Version: schemas.Version1, Campaign: "everything", Rule: "all", Tick: schemas.DefaultTick, Mode: protocol.ModeAll,
		Signals: []signal.Signal{{Name: "SPEED", Unit: "km/h", Message: "SPEED", Bus: "can0", CAN: &signal.Bits{ID: 0xB4, Length: 16}, Scale: "0.01", Offset: "0"}},
		Groups:  [][]uint32{{0}},
	}
	doc, hash, err := schema.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	e := batches.NewEncoder(schema, hash.ID())
	for i := range int64(1000) {
		e.Add(0, 1_700_000_000_000_000+i*10_000, []int64{5000 + i%4})
	}
	id := protocol.MessageID{Device: "tcu-a", Boot: protocol.BootID{1}, Seq: 1}
	payload, err := e.Encode(batches.Header{ID: id}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	known, err := schemas.Parse(doc)
	if err != nil {
		fmt.Println(err)
		return
	}
	batch, err := batches.Decode(payload, known)
	if err != nil {
		fmt.Println(err)
		return
	}
	rows, speed := batch.Rows[0], &known.Signals[0]
	fmt.Println(batch.ID, batch.Samples(), "samples")
	fmt.Println(rows.Time[3], speed.Physical(rows.Columns[0][3]), speed.Unit)
	// Output:
	// tcu-a.0100000000000000.1 1000 samples
	// 1700000000030000 50.03 km/h
}
