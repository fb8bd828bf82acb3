package ledger

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Table writes the account for people, in the order of its three equations.
func (l *Ledger) Table(out io.Writer) {
	row := func(label string, n uint64, note string) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("  %-22s %14s  %s", label, Thousands(n), note), " "))
	}
	row("frames sent", l.FramesSent, "")
	row("  received", l.FramesReceived, "")
	row("  unpowered", l.FramesUnpowered, "from the last commit before a cut until attached again")
	row("  dropped", l.FramesDropped, "counted by the bus driver")
	if l.FramesFiltered > 0 {
		row("  filtered", l.FramesFiltered, "kept away by the kernel: no campaign wants them")
	}
	row("frames decoded", l.FramesDecoded, "")
	row("frames unknown", l.FramesUnknown, "no DBC has them")
	row("samples collected", l.SamplesCollected, "committed to the vehicle's disk")
	row("  stored", l.SamplesStored, "rows in the Parquet files")
	row("  evicted", l.SamplesEvicted, "declared by the vehicle")
	row("samples unpowered", l.SamplesUnpowered, "")
	row("lost", l.Lost, "")
	row("duplicated", l.Duplicated, "")
	fmt.Fprintf(out, "  %-22s %14s  %.3f bytes per sample, %s bytes on the wire\n", "payload bytes", Thousands(l.PayloadBytes), l.BytesPerSample, Thousands(uint64(l.WireBytes)))
	if l.NumbersOnly != "" {
		fmt.Fprintf(out, "  compared by numbers, not sample by sample: %s\n", l.NumbersOnly)
	}
	for _, id := range slices.Sorted(maps.Keys(l.Devices)) {
		d := l.Devices[id]
		fmt.Fprintf(out, "  of it %-16s %14s  frames sent, %s received; %s samples collected, %s stored, %s evicted; lost %s, duplicated %s\n", id,
			Thousands(d.FramesSent), Thousands(d.FramesReceived), Thousands(d.SamplesCollected), Thousands(d.SamplesStored),
			Thousands(d.SamplesEvicted), Thousands(d.Lost), Thousands(d.Duplicated))
	}
}

// Thousands writes 98800 as 98,800.
func Thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
