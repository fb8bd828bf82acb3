package agent

import (
	"context"
	"fmt"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/network"
	"telltale.dev/protocol/report"
)

// Status is the agent's own account at one moment, as JSON for reports.
type Status struct {
	report.Status
	Buses     []frames.Bus `json:"buses"`
	Refused   uint64       `json:"commits_refused"` // by the disk, and tried again
	Discarded uint64       `json:"discarded"`       // samples that could be stored nowhere
	LeftOut   uint64       `json:"rows_left_out"`   // could not be collected; see the log
	Evicted   uint64       `json:"evicted"`         // records
	Retried   uint64       `json:"retried"`
	SetAside  uint64       `json:"set_aside"`
	Guarantee string       `json:"guarantee"`
	// Network is the link as it was seen last.
	Network network.State `json:"network"`
}

// Status may be called from any goroutine.
func (a *Agent) Status() Status {
	collected, made, waiting, sent := a.collect.Stats(), a.batch.Stats(), a.buffer.Stats(), a.link.Stats()
	supply := a.power.Status()
	way, limit := a.network.Status()
	return Status{
		Status: report.Status{
			Boot: a.boot.String(), Attached: a.frames.Attached(),
			Received: made.Seen.Received, Dropped: made.Seen.Dropped, Decoded: made.Seen.Decoded, Unknown: made.Seen.Unknown,
			Samples: made.Samples, Batches: made.Batches, Waiting: waiting.Waiting.Records, WaitingBytes: waiting.Waiting.Bytes,
			Connected: sent.Connected, Connection: sent.Connection, Acked: sent.Acked,
			Ignition: supply.Ignition.String(), Asleep: supply.Asleep, Upload: limit.String(), Error: sent.LastError,
		},
		Buses: a.buses(), Refused: made.Failures, LeftOut: collected.LeftOut + made.Refused, Discarded: made.Discarded,
		Evicted: waiting.EvictedRecords, Network: way, Retried: sent.Retried, SetAside: sent.SetAside, Guarantee: sent.Guarantee,
	}
}

// buses gives the state of each input, with what became of long J1939 messages.
func (a *Agent) buses() []frames.Bus {
	list := a.frames.Buses()
	for i, c := range a.signals.Long() {
		if c.Complete > 0 || c.Trouble() != "" {
			list[i].Long = &report.Long{Complete: c.Complete, Incomplete: c.Lost(), Why: c.Trouble()}
		}
	}
	return list
}

// Summary is the status in one line. It may be called from any goroutine.
func (a *Agent) Summary() string {
	s := a.Status()
	way := "not connected"
	switch {
	case s.Asleep:
		way = "asleep"
	case s.Connected:
		way = "connected"
	}
	return fmt.Sprintf("%s; buses attached: %d; records waiting: %d", way, s.Attached, s.Waiting)
}

// Healthy returns nil when the stages answer: the pipeline, the buffer and the
// link. Buses that are silent, a full disk or a cloud that is away are no illness: a new
// start would not help. It may be called from any goroutine while Run runs, and returns ctx.Err() when ctx ends first.
func (a *Agent) Healthy(ctx context.Context) error {
	if err := a.batch.Alive(ctx); err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	answered := make(chan struct{})
	go func() { // when a lock is never released it stays, until the supervisor ends the program
		defer close(answered)
		a.Status()
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("status: %w", ctx.Err())
	}
}
