// Package ledger adds up what was sent, collected and stored, and says whether
// the three agree.
//
//	frames_sent       = frames_received + frames_unpowered + frames_dropped + frames_filtered
//	frames_received   = frames_decoded + frames_unknown
//	samples_collected = samples_stored + samples_evicted      (lost 0, duplicated 0)
//
// It counts for each device; see Sum for a vehicle that has several.
//
// Sent is what the player put on the buses and decoded itself; collected is
// what the agent committed to its disk; stored is counted by reading the
// Parquet files. None of the three is asked about another.
package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Ledger is the account of one device's drive, or the sum of those of a vehicle's devices.
// The JSON keys are part of the product.
type Ledger struct {
	FramesSent       uint64  `json:"frames_sent"`
	FramesReceived   uint64  `json:"frames_received"`
	FramesUnpowered  uint64  `json:"frames_unpowered"`
	FramesDropped    uint64  `json:"frames_dropped"`
	FramesFiltered   uint64  `json:"frames_filtered,omitempty"` // kept away by the kernel, since no campaign wants them
	FramesDecoded    uint64  `json:"frames_decoded"`
	FramesUnknown    uint64  `json:"frames_unknown"`
	SamplesCollected uint64  `json:"samples_collected"`
	SamplesUnpowered uint64  `json:"samples_unpowered"`
	SamplesEvicted   uint64  `json:"samples_evicted"`
	SamplesStored    uint64  `json:"samples_stored"`
	Lost             uint64  `json:"lost"`
	Duplicated       uint64  `json:"duplicated"`
	BatchesStored    uint64  `json:"batches_stored"`
	PayloadBytes     uint64  `json:"payload_bytes"`
	WireBytes        int64   `json:"wire_bytes"`
	BytesPerSample   float64 `json:"bytes_per_sample"`
	Seconds          float64 `json:"seconds"`
	// NumbersOnly says why the samples were not compared one by one with those sent, only their numbers.
	NumbersOnly string `json:"blurred,omitempty"`
	// Devices are the accounts that were summed up, by the device's identifier; nil: this is the account of one device.
	Devices map[string]*Ledger `json:"devices,omitempty"`

	problems []string
}

// Sum adds up the accounts of several devices of one vehicle, by their identifiers. A frame on a
// bus that two of them read counts twice, as it does in theirs; so do its samples.
func Sum(devices map[string]*Ledger) *Ledger {
	sum := &Ledger{Devices: devices}
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		l := devices[id]
		for _, n := range [...]struct{ to, from *uint64 }{
			{&sum.FramesSent, &l.FramesSent}, {&sum.FramesReceived, &l.FramesReceived}, {&sum.FramesUnpowered, &l.FramesUnpowered},
			{&sum.FramesDropped, &l.FramesDropped}, {&sum.FramesFiltered, &l.FramesFiltered}, {&sum.FramesDecoded, &l.FramesDecoded},
			{&sum.FramesUnknown, &l.FramesUnknown}, {&sum.SamplesCollected, &l.SamplesCollected}, {&sum.SamplesUnpowered, &l.SamplesUnpowered},
			{&sum.SamplesEvicted, &l.SamplesEvicted}, {&sum.SamplesStored, &l.SamplesStored}, {&sum.Lost, &l.Lost},
			{&sum.Duplicated, &l.Duplicated}, {&sum.BatchesStored, &l.BatchesStored}, {&sum.PayloadBytes, &l.PayloadBytes},
		} {
			*n.to += *n.from
		}
		sum.WireBytes += l.WireBytes
		sum.Seconds = max(sum.Seconds, l.Seconds)
		if sum.NumbersOnly == "" && l.NumbersOnly != "" {
			sum.NumbersOnly = "of " + id + ", " + l.NumbersOnly
		}
	}
	if sum.SamplesCollected > 0 {
		sum.BytesPerSample = float64(sum.PayloadBytes) / float64(sum.SamplesCollected)
	}
	return sum
}

// ErrDoesNotAddUp is wrapped by Check.
var ErrDoesNotAddUp = errors.New("the ledger does not add up")

// Check returns nil when everything is accounted for; the error lists what is not. A sum is
// right when the account of each device is: two wrong ones may make a right one.
func (l *Ledger) Check() error {
	if l.Devices != nil {
		var errs []error
		for _, id := range slices.Sorted(maps.Keys(l.Devices)) {
			if err := l.Devices[id].Check(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
			}
		}
		return errors.Join(errs...)
	}
	problems := l.problems
	expect := func(what string, got, want uint64) {
		if got != want {
			problems = append(problems, fmt.Sprintf("%s is %d, expected %d", what, got, want))
		}
	}
	expect("frames_sent", l.FramesSent, l.FramesReceived+l.FramesUnpowered+l.FramesDropped+l.FramesFiltered)
	expect("frames_received", l.FramesReceived, l.FramesDecoded+l.FramesUnknown)
	expect("samples_collected", l.SamplesCollected, l.SamplesStored+l.SamplesEvicted)
	expect("lost", l.Lost, 0)
	expect("duplicated", l.Duplicated, 0)
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDoesNotAddUp, strings.Join(problems, "; "))
}
