// Package report has what an agent tells of itself to programs on its own machine, as JSON: the
// agent writes it, and tools and simulators read it.
package report

// Account is what the buffer of a stopped agent says; telltale-agent ledger prints it.
type Account struct {
	Boots          []Boot  `json:"boots"`
	WaitingRecords uint64  `json:"waiting_records"`
	WaitingSamples uint64  `json:"waiting_samples"`
	Evicted        []Range `json:"evicted"` // not yet declared to the cloud
	EvictedSamples uint64  `json:"evicted_samples"`
	LostSamples    uint64  `json:"lost_samples"` // damaged on disk
}

// Boot is the account of one start of the agent, as of its last commit.
type Boot struct {
	Boot     string   `json:"boot"` // protocol.BootID as text
	Received uint64   `json:"received"`
	Dropped  uint64   `json:"dropped"`
	Decoded  uint64   `json:"decoded"`
	Unknown  uint64   `json:"unknown"`
	Samples  uint64   `json:"samples"`
	Bytes    uint64   `json:"bytes"`
	NextSeq  uint64   `json:"next_seq"`
	Seen     []uint64 `json:"seen"` // received plus dropped of each bus, in the order of the configuration
}

// Range is a run of sequences of one boot, both ends included.
type Range struct {
	Boot string `json:"boot"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}
