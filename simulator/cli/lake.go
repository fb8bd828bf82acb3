package cli

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"telltale.dev/simulator/client"
	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/terminal"
)

type Lake struct {
	Dir    string   `arg:"" type:"existingdir" help:"Folder of the Parquet files."`
	Signal []string `sep:"none" placeholder:"GLOB" help:"Only signals whose name matches. May be repeated."`
}

// summary is what the lake holds of one signal of one vehicle.
type summary struct {
	vid, bus, message, signal string
	rows, invalid             uint64 // invalid: those without a value
	first, last               int64  // µs
	least, most               float64
}

// bound shows the least or largest value; without any value there is none.
func (s *summary) bound(v float64) string {
	if s.invalid == s.rows {
		return "-"
	}
	return fmt.Sprintf("%.6g", v)
}

// Run sums up the lake, a line for each signal.
func (c *Lake) Run() error {
	if err := client.CheckGlobs(c.Signal); err != nil {
		return err
	}
	type key struct{ vid, bus, message, signal string }
	sums := map[key]*summary{}
	err := ledger.ScanLake(c.Dir, func(_ string, r *ledger.Row) error {
		k := key{r.VID, r.Bus, r.Message, r.Signal}
		s := sums[k]
		if s == nil {
			if !client.MatchGlobs(c.Signal, r.Signal) {
				return nil
			}
			s = &summary{vid: k.vid, bus: k.bus, message: k.message, signal: k.signal, first: r.Time, least: math.Inf(1), most: math.Inf(-1)}
			sums[k] = s
		}
		s.rows++
		s.first, s.last = min(s.first, r.Time), max(s.last, r.Time)
		if r.Quality == "" {
			s.least, s.most = min(s.least, r.Value), max(s.most, r.Value)
		} else {
			s.invalid++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return printSummaries(sums)
}

func printSummaries[K comparable](sums map[K]*summary) error {
	list := make([]*summary, 0, len(sums))
	rows := uint64(0)
	for _, s := range sums {
		list = append(list, s)
		rows += s.rows
	}
	slices.SortFunc(list, func(a, b *summary) int {
		return cmp.Or(cmp.Compare(a.vid, b.vid), cmp.Compare(a.bus, b.bus), cmp.Compare(a.message, b.message), cmp.Compare(a.signal, b.signal))
	})
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "VEHICLE\tBUS\tMESSAGE\tSIGNAL\tSAMPLES\tFIRST (UTC)\tSECONDS\tLEAST\tMOST\tWITHOUT VALUE")
	for _, s := range list {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\t%.1f\t%s\t%s\t%d\n", s.vid, terminal.Plain(s.bus), terminal.Plain(s.message), terminal.Plain(s.signal), s.rows,
			time.UnixMicro(s.first).UTC().Format("2006-01-02 15:04:05.000"), float64(s.last-s.first)/1e6, s.bound(s.least), s.bound(s.most), s.invalid)
	}
	fmt.Fprintf(out, "%d signals\t\t\t\t%d\n", len(list), rows)
	return out.Flush()
}
