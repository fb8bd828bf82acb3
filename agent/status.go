package agent

// Status is the agent's own account at one moment, as JSON for reports.
type Status struct {
	Boot         string `json:"boot"`
	Attached     int    `json:"attached"` // buses
	Received     uint64 `json:"frames_received"`
	Dropped      uint64 `json:"frames_dropped"`
	Decoded      uint64 `json:"frames_decoded"`
	Unknown      uint64 `json:"frames_unknown"`
	Samples      uint64 `json:"samples"` // on disk since the start
	Batches      uint64 `json:"batches"` // on disk since the start
	Waiting      uint64 `json:"waiting"` // records in the buffer
	WaitingBytes uint64 `json:"waiting_bytes"`
	Evicted      uint64 `json:"evicted"` // records
	Connected    bool   `json:"connected"`
	Connection   uint64 `json:"connection"` // counts from 1 within a boot
	Acked        uint64 `json:"acked"`
	Retried      uint64 `json:"retried"`
	SetAside     uint64 `json:"set_aside"`
	Guarantee    string `json:"guarantee"`
	Error        string `json:"error,omitempty"`
}

// Status may be called from any goroutine.
func (a *Agent) Status() Status {
	made, waiting, sent := a.batch.Stats(), a.buffer.Stats(), a.link.Stats()
	return Status{
		Boot: a.boot.String(), Attached: a.frames.Attached(),
		Received: made.Seen.Received, Dropped: made.Seen.Dropped,
		Decoded: made.Seen.Decoded, Unknown: made.Seen.Unknown,
		Samples: made.Samples, Batches: made.Batches,
		Waiting: waiting.Waiting.Records, WaitingBytes: waiting.Waiting.Bytes, Evicted: waiting.EvictedRecords,
		Connected: sent.Connected, Connection: sent.Connection, Acked: sent.Acked,
		Retried: sent.Retried, SetAside: sent.SetAside, Guarantee: sent.Guarantee, Error: sent.LastError,
	}
}
