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

// Drive is what is known of a drive on the buses of a device.
type Drive struct {
	Truth      *drive.Truth
	Before     report.Account // of the agent's folder before the drive
	Everything bool           // the device collects every sample
	Took       time.Duration
}

// handoverStep is how often Gather looks whether everything is handed over.
const handoverStep = 20 * time.Millisecond

// Gather ends the drive of the only device: HandOver, then the cloud is stopped.
func Gather(ctx context.Context, w *world.World, device *world.Device, d Drive, within time.Duration) (Evidence, error) {
	e, err := HandOver(ctx, w, device, d, within)
	if err != nil {
		return e, err
	}
	return e, w.StopCloud(ctx)
}

// HandOver ends the drive of one device: it waits at most within until the device has
// handed over everything, stops it, and collects the evidence. What still waits when
// the time is up shows in the account. The lake is complete when the cloud is
// stopped, which is for the caller to do before Compute.
func HandOver(ctx context.Context, w *world.World, device *world.Device, d Drive, within time.Duration) (Evidence, error) {
	var none Evidence
	if !device.Running() {
		return none, errors.Join(w.Failure(), fmt.Errorf("delivery of %s: expected it powered at the end", device.Title()))
	}
	drained, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := device.Drain(drained); err != nil {
		return none, fmt.Errorf("delivery of %s: the agent does not read its buses: %w", device.Title(), err)
	}
	after, err := handOver(ctx, drained, w, device)
	if err != nil {
		return none, err
	}
	e := Evidence{
		Device: device.ID(), Truth: d.Truth, Attachments: device.Attachments(), NumbersOnly: device.NumbersOnly(after), FilteredBuses: device.FilteredBuses(), Starts: device.Starts(),
		Before: d.Before, After: after, Lake: w.Lake(), Took: d.Took, Everything: d.Everything,
	}
	for _, b := range device.Buses() {
		e.Buses = append(e.Buses, b.Name)
	}
	if e.After.EvictedSamples > d.Before.EvictedSamples {
		if e.Declared, err = declared(ctx, drained, w, device, after); err != nil {
			return none, err
		}
	}
	up, down := device.Link.Bytes()
	e.WireBytes = up + down
	return e, nil
}

// handOver waits until the device has sent everything, stops it and gives the
// account of its folder. A connection that is dead without the device knowing
// it makes it stop with batches waiting; as in real life they travel when it is
// powered again.
func handOver(ctx, within context.Context, w *world.World, device *world.Device) (report.Account, error) {
	for {
		for s := device.Status(); (s.Waiting > 0 || !s.Connected) && within.Err() == nil; s = device.Status() {
			if err := w.Failure(); err != nil {
				return report.Account{}, err
			}
			time.Sleep(handoverStep)
		}
		if err := device.Stop(ctx); err != nil {
			return report.Account{}, err
		}
		account, err := device.Account(ctx)
		if err != nil || account.WaitingRecords == 0 || within.Err() != nil {
			return account, err
		}
		if err := device.Start(ctx); err != nil {
			return report.Account{}, err
		}
	}
}

// declared asks the cloud for the evicted ranges that the devices of the vehicle declared. What it
// acknowledged is on its disk, and perhaps not yet read from there: it is asked again
// until it is not behind, or the time is up.
func declared(ctx, within context.Context, w *world.World, device *world.Device, after report.Account) ([]report.Range, error) {
	for {
		list, err := w.Deliveries(ctx, device.Vehicle)
		if err != nil {
			return nil, err
		}
		if !behind(list, after) || within.Err() != nil {
			return evictions(list), nil
		}
		time.Sleep(handoverStep)
	}
}

// behind says whether the cloud has not heard of a sequence that the device used and does not have to declare yet.
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
