package buffer_test

import (
	"fmt"
	"os"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// Append before the network is asked, read until the cloud has it, acknowledge.
func Example() {
	dir, err := os.MkdirTemp("", "buffer-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory

	b, err := buffer.Open(buffer.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	boot := protocol.BootID{1}
	batch := buffer.Record{
		Topic: "v1/k7q4/up/telemetry/everything", Priority: protocol.CS1,
		ID: protocol.MessageID{Device: "t3", Boot: boot, Seq: 1}, Samples: 2, Payload: []byte("columns"),
	}
	if err := b.Append([]buffer.Record{batch}, buffer.Progress{Boot: boot, Samples: 2, NextSeq: 2}); err != nil {
		fmt.Println(err)
		return
	}
	entries, err := b.Read(buffer.Position{}, protocol.CS1, 10, 0)
	for _, e := range entries {
		fmt.Println(e.Record.ID, string(e.Record.Payload), err)
		b.Ack(e.Position)
	}
	fmt.Println(b.Stats().Waiting.Records, b.Close())
	// Output:
	// t3.0100000000000000.1 columns <nil>
	// 0 <nil>
}
