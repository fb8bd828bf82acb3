package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"telltale.dev/agent/frames"
	"telltale.dev/hal/network"
	"telltale.dev/protocol/campaigns"
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
	Endpoint  string       `json:"endpoint,omitempty"` // of the present connection, or of the last attempt
	Since     time.Time    `json:"since,omitzero"`     // when Connected last changed
	LastAck   time.Time    `json:"last_ack,omitzero"`  // when the cloud last acknowledged a record
	// Campaigns are those in force.
	Campaigns []campaigns.Metadata `json:"campaigns"`
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
		Endpoint: sent.Endpoint, Since: sent.Since, LastAck: sent.LastAck, Campaigns: *a.collecting.names.Load(),
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

// Print writes the status for people: a line for each thing.
func (s *Status) Print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) { fmt.Fprintf(out, what+"\t"+format+"\n", args...) }
	ago := func(at time.Time) string { return time.Since(at).Round(time.Second).String() }
	switch {
	case s.Asleep:
		line("link", "off the network on purpose")
	case s.Connected:
		line("link", "connected to %s for %s (connection %d)", s.Endpoint, ago(s.Since), s.Connection)
	default:
		line("link", "not connected (attempt %d, %s): %s", s.Connection, cmp.Or(s.Endpoint, "no broker yet"), cmp.Or(s.Error, "no answer yet"))
	}
	line("upload", "%s; ignition %s", s.Upload, s.Ignition)
	line("waiting", "%d records, %d bytes", s.Waiting, s.WaitingBytes)
	last := "none since the start"
	if !s.LastAck.IsZero() {
		last = "the last one " + ago(s.LastAck) + " ago"
	}
	line("acknowledged", "%d records, %s", s.Acked, last)
	line("collected", "%d samples in %d batches", s.Samples, s.Batches)
	if lost := s.Discarded + s.LeftOut + s.Evicted; lost > 0 {
		line("lost", "%d samples discarded, %d rows left out, %d records evicted", s.Discarded, s.LeftOut, s.Evicted)
	}
	for _, b := range s.Buses {
		state := "attached"
		if !b.Attached {
			state = "not attached: " + cmp.Or(b.Failure, "not yet")
		}
		line("bus "+b.Name, "%s; %d frames received, %d dropped; filters: %s", state, b.Received, b.Dropped, b.Filters)
	}
	for _, c := range s.Campaigns {
		line("campaign", "%s, revision %d", c.ID, c.Revision)
	}
	if len(s.Campaigns) == 0 {
		line("campaign", "none: nothing is collected until the cloud pushes one")
	}
	return out.Flush()
}
