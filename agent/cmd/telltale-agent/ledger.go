package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol/report"
)

type ledgerCommand struct {
	Data string `required:"" type:"path" placeholder:"DIR" help:"Data folder of a stopped agent."`
}

// Run prints the report as one JSON object.
func (c *ledgerCommand) Run() error {
	kept, err := buffer.Inspect(filepath.Join(c.Data, "buffer"))
	if err != nil {
		return err
	}
	out := report.Account{
		WaitingRecords: kept.Waiting.Records, WaitingSamples: kept.Waiting.Samples,
		EvictedSamples: kept.Counts.EvictedSamples, LostSamples: kept.Counts.LostSamples,
	}
	for _, p := range kept.Boots {
		out.Boots = append(out.Boots, report.Boot{
			Boot: p.Boot.String(), Received: p.Received, Dropped: p.Dropped, Decoded: p.Decoded, Unknown: p.Unknown,
			Samples: p.Samples, Bytes: p.Bytes, NextSeq: p.NextSeq, Seen: p.Seen,
		})
	}
	for _, r := range kept.Evicted {
		out.Evicted = append(out.Evicted, report.Range{Boot: r.Boot.String(), From: r.From, To: r.To})
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
