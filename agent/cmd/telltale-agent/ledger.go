package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

type ledgerCommand struct {
	Data string `required:"" type:"path" placeholder:"DIR" help:"Data folder of a stopped agent."`
}

// ledger is the account as JSON. The keys are read by the simulator.
type ledger struct {
	Boots          []boot    `json:"boots"`
	WaitingRecords uint64    `json:"waiting_records"`
	WaitingSamples uint64    `json:"waiting_samples"`
	Evicted        []evicted `json:"evicted"` // not yet declared to the cloud
	EvictedSamples uint64    `json:"evicted_samples"`
	LostSamples    uint64    `json:"lost_samples"` // damaged on disk
}

// boot is the account of one start, as of its last commit.
type boot struct {
	Boot     protocol.BootID `json:"boot"`
	Received uint64          `json:"received"`
	Dropped  uint64          `json:"dropped"`
	Decoded  uint64          `json:"decoded"`
	Unknown  uint64          `json:"unknown"`
	Samples  uint64          `json:"samples"`
	Bytes    uint64          `json:"bytes"`
	NextSeq  uint64          `json:"next_seq"`
	Seen     []uint64        `json:"seen"` // received plus dropped of each bus
}

type evicted struct {
	Boot protocol.BootID `json:"boot"`
	From uint64          `json:"from"`
	To   uint64          `json:"to"`
}

// Run prints the report as one JSON object.
func (c *ledgerCommand) Run() error {
	report, err := buffer.Inspect(filepath.Join(c.Data, "buffer"))
	if err != nil {
		return err
	}
	out := ledger{
		WaitingRecords: report.Waiting.Records, WaitingSamples: report.Waiting.Samples,
		EvictedSamples: report.Counts.EvictedSamples, LostSamples: report.Counts.LostSamples,
	}
	for _, p := range report.Boots {
		out.Boots = append(out.Boots, boot{p.Boot, p.Received, p.Dropped, p.Decoded, p.Unknown, p.Samples, p.Bytes, p.NextSeq, p.Seen})
	}
	for _, r := range report.Evicted {
		out.Evicted = append(out.Evicted, evicted(r))
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
