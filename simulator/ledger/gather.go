package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"telltale.dev/protocol/report"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// Drive is what a vehicle's driver knows.
type Drive struct {
	Truth      *drive.Truth
	Before     report.Account // of the agent's folder before the drive
	Everything bool           // the vehicle collects every sample
	Took       time.Duration
}

// handoverStep is how often Gather looks whether everything is handed over.
const handoverStep = 20 * time.Millisecond

// Gather ends the only drive: HandOver, then the cloud is stopped.
func Gather(ctx context.Context, w *world.World, v *world.Vehicle, d Drive, within time.Duration) (Evidence, error) {
	e, err := HandOver(ctx, w, v, d, within)
	if err != nil {
		return e, err
	}
	return e, w.StopCloud(ctx)
}

// HandOver ends one drive: it waits at most within until the vehicle has handed
// over everything, stops it, and collects the evidence. What still waits when
// the time is up shows in the account. The lake is complete when the cloud is
// stopped, which is for the caller to do before Compute.
func HandOver(ctx context.Context, w *world.World, v *world.Vehicle, d Drive, within time.Duration) (Evidence, error) {
	var none Evidence
	if !v.Running() {
		return none, errors.Join(w.Failure(), fmt.Errorf("delivery of %s: expected it powered at the end", v.Name))
	}
	drained, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := v.Drain(drained); err != nil {
		return none, fmt.Errorf("delivery of %s: the agent does not read its buses: %w", v.Name, err)
	}
	after, err := handOver(ctx, drained, w, v)
	if err != nil {
		return none, err
	}
	e := Evidence{
		Device: v.Device(), Truth: d.Truth, Attachments: v.Attachments(), NumbersOnly: v.NumbersOnly(after), FilteredBuses: v.FilteredBuses(), Starts: v.Starts(),
		Before: d.Before, After: after, Lake: w.Lake(), Took: d.Took, Everything: d.Everything,
	}
	for _, b := range v.Buses() {
		e.Buses = append(e.Buses, b.Name)
	}
	if e.After.EvictedSamples > d.Before.EvictedSamples {
		if e.Declared, err = declared(ctx, drained, w, v, after); err != nil {
			return none, err
		}
	}
	up, down := v.Link.Bytes()
	e.WireBytes = up + down
	return e, nil
}

// handOver waits until the vehicle has sent everything, stops it and gives the
// account of its folder. A connection that is dead without the vehicle knowing
// it makes it stop with batches waiting; as in real life they travel when it is
// powered again.
func handOver(ctx, within context.Context, w *world.World, v *world.Vehicle) (report.Account, error) {
	for {
		for s := v.Status(); (s.Waiting > 0 || !s.Connected) && within.Err() == nil; s = v.Status() {
			if err := w.Failure(); err != nil {
				return report.Account{}, err
			}
			time.Sleep(handoverStep)
		}
		if err := v.Stop(ctx); err != nil {
			return report.Account{}, err
		}
		account, err := v.Account(ctx)
		if err != nil || account.WaitingRecords == 0 || within.Err() != nil {
			return account, err
		}
		if err := v.Start(ctx); err != nil {
			return report.Account{}, err
		}
	}
}

// declared asks the cloud for the evicted ranges that the vehicle declared. What it
// acknowledged is on its disk, and perhaps not yet read from there: it is asked again
// until it is not behind, or the time is up.
func declared(ctx, within context.Context, w *world.World, v *world.Vehicle, after report.Account) ([]report.Range, error) {
	for {
		list, err := w.Deliveries(ctx, v)
		if err != nil {
			return nil, err
		}
		if !behind(list, after) || within.Err() != nil {
			return evictions(list), nil
		}
		time.Sleep(handoverStep)
	}
}

// behind says whether the cloud has not heard of a sequence that the vehicle used and does not have to declare yet.
func behind(list []world.Delivery, after report.Account) bool {
	for _, b := range after.Boots {
		var d world.Delivery
		if i := slices.IndexFunc(list, func(d world.Delivery) bool { return d.Boot == b.Boot }); i >= 0 {
			d = list[i]
		}
		for seq := uint64(1); seq < b.NextSeq; seq++ {
			gap := func(r [2]uint64) bool { return r[0] <= seq && seq <= r[1] }
			if (seq > d.Last || slices.ContainsFunc(d.Gaps, gap)) && !holds(after.Evicted, b.Boot, seq) {
				return true
			}
		}
	}
	return false
}

func evictions(list []world.Delivery) (all []report.Range) {
	for _, d := range list {
		for _, r := range slices.Concat(d.Evicted, d.Stayed) {
			all = append(all, report.Range{Boot: d.Boot, From: r[0], To: r[1]})
		}
	}
	return all
}
