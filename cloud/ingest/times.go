package ingest

import (
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/reasons"
)

// Times bounds the times of a batch's rows by when the broker received it, so that a vehicle
// whose clock is wrong neither hides its state behind the future nor spreads over the lake's
// dates. A batch with rows beyond is set aside whole: it becomes a dead letter with a reason of
// its own, which can be read, and stored by a replay once the bounds allow it. The zero
// value has no bounds, for recordings that are played with the times they were made at.
type Times struct {
	// Ahead is how far in the future rows may be; 0: as far as they like.
	Ahead time.Duration `default:"5m" help:"How far in the future the times of data may be; what is beyond is set aside among the dead letters. 0: no bound."`
	// Late is how far in the past rows may be, beyond the time for which the vehicle keeps
	// a record of their class; 0: as far as they like.
	Late time.Duration `default:"24h" help:"How far in the past they may be, beyond the time for which a vehicle keeps its data. 0: no bound."`
	// UnsyncedAside sets data of clocks that nothing has set aside, too, wherever its times are.
	// Without it such data is stored and marked: many a machine whose clock is right has nobody who says so.
	UnsyncedAside bool `help:"Set data aside whose vehicle says that nothing has set its clock. Default: it is stored, with the time_quality unsynced."`
}

// check says why a message whose rows are from first to last, in µs, is set aside; nil when it is not.
// The vehicle's word on its clock is in the batch, or in the message's properties.
func (t Times) check(m *Message, quality batches.TimeQuality, received time.Time, first, last int64) *fault {
	unsynced := batches.TimeUnsynced.String()
	if t.UnsyncedAside && (quality == batches.TimeUnsynced || m.Header[HeaderProperty+protocol.PropTimeQuality] == unsynced) {
		return faultOf(reasons.Unsynced, "the vehicle's clock was not set")
	}
	if t.Ahead > 0 && last > received.Add(t.Ahead).UnixMicro() {
		return faultOf(reasons.Time, "rows are up to %v after their reception, expected at most %v",
			distance(last-received.UnixMicro()), t.Ahead)
	}
	if t.Late <= 0 {
		return nil
	}
	class, _ := protocol.ParsePriority(m.Header[HeaderProperty+protocol.PropPriority])
	past := class.TimeToLive() + t.Late
	if first < received.Add(-past).UnixMicro() {
		return faultOf(reasons.Time, "rows are up to %v before their reception, expected at most %v",
			distance(received.UnixMicro()-first), past)
	}
	return nil
}

// distance gives µs as a duration in seconds; centuries are cut to what a duration can hold.
func distance(us int64) time.Duration {
	const most = int64(1<<63-1) / 1000
	return (time.Duration(min(us, most)) * time.Microsecond).Round(time.Second)
}

// extent gives the earliest and the latest time of a batch's rows, in µs.
func extent(b *batches.Batch) (first, last int64) {
	first, last = int64(1<<63-1), -1<<63
	for i := range b.Rows {
		for _, t := range b.Rows[i].Time {
			first, last = min(first, t), max(last, t)
		}
	}
	return first, last
}

const (
	// maxDates is how many dates one commit may have: each is a file, and perhaps a folder. A
	// batch whose dates would be more comes after a commit of its own.
	maxDates = 64
	// dateUnits is what a date costs, in units of work.
	dateUnits = 2000

	microsPerDay = 24 * 3600 * 1_000_000
)

// dates are those of the rows that wait for a commit, in days since the Unix epoch.
type dates map[int64]struct{}

// add takes the dates from first to last µs into the set and says how many are new. When
// there would be too many it takes none and says -1.
func (d *dates) add(first, last int64) (fresh int) {
	from, to := first/microsPerDay, last/microsPerDay
	for day := from; day <= to && fresh <= maxDates; day++ {
		if _, ok := (*d)[day]; !ok {
			fresh++
		}
	}
	if len(*d) > 0 && len(*d)+fresh > maxDates {
		return -1
	}
	if *d == nil {
		*d = make(dates)
	}
	for day := from; day <= min(to, from+maxDates); day++ {
		(*d)[day] = struct{}{}
	}
	return fresh
}
