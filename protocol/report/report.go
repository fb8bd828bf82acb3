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

// Status is what a running agent says of itself; telltale-agent run --report prints it with more.
// Counters start at the start of the agent.
type Status struct {
	Boot         string `json:"boot"`
	Attached     int    `json:"attached"` // buses
	Received     uint64 `json:"frames_received"`
	Dropped      uint64 `json:"frames_dropped"`
	Decoded      uint64 `json:"frames_decoded"`
	Unknown      uint64 `json:"frames_unknown"` // no DBC has them; a narrowed bus keeps them away (Bus.Filters)
	Samples      uint64 `json:"samples"`        // on disk
	Batches      uint64 `json:"batches"`        // on disk
	Waiting      uint64 `json:"waiting"`        // records in the buffer
	WaitingBytes uint64 `json:"waiting_bytes"`
	Connected    bool   `json:"connected"`
	Connection   uint64 `json:"connection"` // counts from 1 within a boot
	Acked        uint64 `json:"acked"`
	Ignition     string `json:"ignition"` // on, off or unknown
	Asleep       bool   `json:"asleep"`   // off the network on purpose
	Upload       string `json:"upload"`   // what may be sent: all, urgent or none
	Error        string `json:"error,omitempty"`
}

// Bus is the state of one bus of an agent. Frames that Filters keeps away are in no counter.
type Bus struct {
	Name     string `json:"name"`
	Attached bool   `json:"attached"`
	Received uint64 `json:"frames_received"` // over all attachments since the start
	Dropped  uint64 `json:"frames_dropped"`
	Filters  string `json:"filters"`            // what the driver lets through, in words: Everything, or how many filters
	First    int64  `json:"first_us,omitempty"` // time of the first frame since the start, in µs since the Unix epoch; 0: none yet
	Failure  string `json:"failure,omitempty"`  // why it is not attached
	// Long says what became of J1939 messages of more than 8 bytes; nil: none came, or no DBC file has any.
	Long *Long `json:"long_messages,omitempty"`
}

// Long counts J1939 messages that come in parts (SAE J1939-21, 5.10), since the start.
type Long struct {
	Complete   uint64 `json:"complete"`
	Incomplete uint64 `json:"incomplete,omitempty"` // they gave no value
	Why        string `json:"why,omitempty"`        // what was not put together, in words
}

// Everything is how Bus.Filters begins when nothing is kept away.
const Everything = "everything"
