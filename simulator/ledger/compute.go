package ledger

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/report"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// Evidence is what the account of one device is made from.
type Evidence struct {
	Device      string
	Buses       []string // in the order of the agent's inputs
	Truth       *drive.Truth
	Attachments []virtual.Attachment
	Starts      []world.Start
	// Before and After are the agent's folder before and after the drive.
	Before, After report.Account
	// Declared are the evicted ranges that the devices of the vehicle declared to the cloud.
	Declared  []report.Range
	Lake      string // folder of the Parquet files
	WireBytes int64
	Took      time.Duration
	// NumbersOnly says why it is not known which frames of its stretches the vehicle received: then only the
	// numbers are compared. Empty: it is known.
	NumbersOnly string
	// FilteredBuses are the buses of which the kernel kept frames away.
	FilteredBuses []string
	// Everything says that the vehicle collected every sample, so that the truth says what must be stored.
	Everything bool
}

// Compute adds everything up. The error is only for evidence that cannot be
// read; see Ledger.Check for an account that does not add up.
func Compute(e Evidence) (*Ledger, error) {
	l := &Ledger{WireBytes: e.WireBytes, Seconds: e.Took.Seconds(), NumbersOnly: e.NumbersOnly}
	boots := e.boots()
	for _, b := range boots {
		l.FramesReceived += b.Received
		l.FramesDropped += b.Dropped
		l.FramesDecoded += b.Decoded
		l.FramesUnknown += b.Unknown
		l.SamplesCollected += b.Samples
		l.PayloadBytes += b.Bytes
	}
	l.SamplesEvicted = e.After.EvictedSamples - e.Before.EvictedSamples
	all, powered, received := e.Truth.All(), e.powered(boots, false), e.powered(boots, true)
	l.FramesSent = all.Frames
	l.FramesFiltered = e.filtered(boots)
	l.FramesUnpowered = all.Frames - powered.Frames - l.FramesFiltered
	if len(e.FilteredBuses) == 0 { // else it is not known which frames were kept away
		l.SamplesUnpowered = all.Samples - powered.Samples
	}
	if l.SamplesCollected > 0 {
		l.BytesPerSample = float64(l.PayloadBytes) / float64(l.SamplesCollected)
	}
	stored, err := scanStored(e.Lake, e.Device, e.started())
	if err != nil {
		return nil, err
	}
	l.SamplesStored, l.BatchesStored, l.Duplicated = stored.rows, uint64(len(stored.batches)), stored.duplicated
	l.SamplesEvicted -= min(l.SamplesEvicted, e.stayed(stored))
	l.Lost = e.lost(boots, stored)
	l.compare(e, received, stored)
	return l, nil
}

// compare holds what the agent and the lake say against the player's truth.
func (l *Ledger) compare(e Evidence, received drive.Sum, stored *stored) {
	problem := func(format string, args ...any) { l.problems = append(l.problems, fmt.Sprintf(format, args...)) }
	if e.NumbersOnly == "" && (received.Decoded != l.FramesDecoded || received.Unknown != l.FramesUnknown) {
		problem("the player decoded %d frames and did not know %d of what the agent received", received.Decoded, received.Unknown)
	}
	if e.After.WaitingRecords > 0 {
		problem("%d batches still wait on the vehicle", e.After.WaitingRecords)
	}
	if e.After.LostSamples > e.Before.LostSamples {
		problem("%d samples were damaged on the vehicle's disk", e.After.LostSamples-e.Before.LostSamples)
	}
	for i, s := range e.Starts {
		if on := e.onDisk(s.Boot); s.Committed > on {
			problem("start %d of the agent told of %d samples on its disk, which has %d", i+1, s.Committed, on)
		}
	}
	if !e.Everything || e.NumbersOnly != "" {
		return
	}
	if received.Samples != l.SamplesCollected {
		problem("the player found %d samples in what the agent received", received.Samples)
	}
	if l.SamplesEvicted == 0 && received.Samples == stored.rows && received.Checksum != stored.checksum {
		problem("the stored samples are not those that were sent")
	}
}

// boots are the accounts of the starts of this drive; a start that never committed has none.
func (e *Evidence) boots() []report.Boot {
	var list []report.Boot
	for _, b := range e.After.Boots {
		if slices.ContainsFunc(e.Starts, func(s world.Start) bool { return s.Boot == b.Boot }) {
			list = append(list, b)
		}
	}
	return list
}

// started are the boots of all starts of this drive, also those that the agent's folder does not know.
func (e *Evidence) started() map[string]bool {
	list := map[string]bool{}
	for _, s := range e.Starts {
		if s.Boot != "" {
			list[s.Boot] = true
		}
	}
	return list
}

// onDisk is what the agent's folder says of the samples of one boot.
func (e *Evidence) onDisk(boot string) uint64 {
	for _, b := range e.After.Boots {
		if b.Boot == boot {
			return b.Samples
		}
	}
	return 0
}

// powered sums up the frames of the stretches that the agent had in its hands
// and on its disk; without what the driver dropped when received is asked for.
func (e *Evidence) powered(boots []report.Boot, received bool) (sum drive.Sum) {
	for _, b := range boots {
		i := slices.IndexFunc(e.Starts, func(s world.Start) bool { return s.Boot == b.Boot })
		for k, bus := range e.Buses {
			if k >= len(b.Seen) {
				continue
			}
			sum = sum.Plus(e.stretch(e.Starts[i].PID, bus, b.Seen[k], received))
		}
	}
	return sum
}

// filtered is the number of frames that were on narrowed buses while the
// vehicle was powered last, and that it did not see. (Of an earlier start it is
// not known until when it was powered: there they count as unpowered.)
func (e *Evidence) filtered(boots []report.Boot) (n uint64) {
	last := e.Starts[len(e.Starts)-1]
	i := slices.IndexFunc(boots, func(b report.Boot) bool { return b.Boot == last.Boot })
	for k, bus := range e.Buses {
		if i < 0 || k >= len(boots[i].Seen) || !slices.Contains(e.FilteredBuses, bus) {
			continue
		}
		for _, a := range e.Attachments {
			if a.PID == last.PID && a.Bus == bus {
				n += a.Next - a.First - min(boots[i].Seen[k], a.Next-a.First)
			}
		}
	}
	return n
}

// stretch sums up the first seen frames that a process was given on a bus.
// Usually it attached once; after a lost connection it goes on in the next attachment.
func (e *Evidence) stretch(pid int, bus string, seen uint64, received bool) (sum drive.Sum) {
	for _, a := range e.Attachments {
		if a.PID != pid || a.Bus != bus || seen == 0 {
			continue
		}
		end := min(a.First+seen, max(a.Next, a.First))
		seen -= end - a.First
		ranges := []virtual.Range{{First: a.First, End: end}}
		if received {
			ranges = without(ranges[0], a.Dropped)
		}
		sum = sum.Plus(e.Truth.Sum(bus, ranges...))
	}
	return sum
}

// without cuts the dropped ranges, which are in order, out of r.
func without(r virtual.Range, dropped []virtual.Range) (kept []virtual.Range) {
	at := r.First
	for _, d := range dropped {
		first, end := max(d.First, at), min(d.End, r.End)
		if first >= end {
			continue
		}
		if first > at {
			kept = append(kept, virtual.Range{First: at, End: first})
		}
		at = end
	}
	if at < r.End {
		kept = append(kept, virtual.Range{First: at, End: r.End})
	}
	return kept
}

// lost counts the sequences that were committed and are neither stored nor declared evicted.
func (e *Evidence) lost(boots []report.Boot, s *stored) (n uint64) {
	for _, b := range boots {
		for seq := uint64(1); seq < b.NextSeq; seq++ {
			if _, ok := s.batches[batch{b.Boot, seq}]; !ok && !e.evicted(b.Boot, seq) {
				n++
			}
		}
	}
	return n
}

// stayed counts the samples of batches that the vehicle evicted when the cloud had
// them already: the word that it has them was lost on the way.
func (e *Evidence) stayed(s *stored) (n uint64) {
	for b, rows := range s.counts {
		if e.evicted(b.boot, b.seq) {
			n += rows
		}
	}
	return n
}

func (e *Evidence) evicted(boot string, seq uint64) bool {
	return holds(e.Declared, boot, seq) || holds(e.After.Evicted, boot, seq)
}

func holds(list []report.Range, boot string, seq uint64) bool {
	return slices.ContainsFunc(list, func(r report.Range) bool { return r.Boot == boot && r.From <= seq && seq <= r.To })
}

// batch identifies a batch of the device.
type batch struct {
	boot string
	seq  uint64
}

// stored is what the Parquet files hold of this drive.
type stored struct {
	rows       uint64
	duplicated uint64                    // batches whose rows are there twice
	batches    map[batch]map[string]bool // → the date folders that hold rows of it
	counts     map[batch]uint64          // rows
	checksum   drive.Checksum
}

// scanStored reads the files. A batch's rows are in one file of each date: those in a second
// one are a duplicate. So are rows of which each is there twice: then the parity of the batch in
// its file is zero, whatever the order of the rows.
func scanStored(lake, device string, mine map[string]bool) (*stored, error) {
	s := &stored{batches: map[batch]map[string]bool{}, counts: map[batch]uint64{}}
	keys := map[[3]string]uint64{}
	parity := map[batch]drive.Checksum{} // of the file at hand
	var inFile string
	err := ScanLake(lake, func(file string, r *Row) error {
		if file != inFile {
			s.endFile(parity)
			inFile = file
		}
		if r.DID != device || !mine[r.Boot] {
			return nil
		}
		b := batch{r.Boot, uint64(r.Seq)}
		if _, ok := parity[b]; !ok {
			s.begin(b, filepath.Base(filepath.Dir(file)))
		}
		name := [3]string{r.Bus, r.Message, r.Signal}
		key, ok := keys[name]
		if !ok {
			key = drive.SignalKey(r.Bus, r.Message, r.Signal)
			keys[name] = key
		}
		sum := drive.SampleSum(key, floorMS(r.Time), r.OnBus())
		s.rows++
		s.counts[b]++
		s.checksum += sum
		parity[b] ^= sum
		return nil
	})
	s.endFile(parity)
	return s, err
}

// begin notes that a file has rows of a batch.
func (s *stored) begin(b batch, date string) {
	dates := s.batches[b]
	if dates == nil {
		dates = map[string]bool{}
		s.batches[b] = dates
	}
	if dates[date] {
		s.duplicated++
	}
	dates[date] = true
}

// endFile counts the batches whose rows are all twice in the file, and forgets the file.
func (s *stored) endFile(parity map[batch]drive.Checksum) {
	for _, sum := range parity {
		if sum == 0 {
			s.duplicated++
		}
	}
	clear(parity)
}

// floorMS cuts µs to whole milliseconds, the unit of batches.
func floorMS(us int64) int64 {
	ms := us / 1000
	if us%1000 < 0 {
		ms--
	}
	return ms
}
