package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// driven is a recording with what its buses mean.
type driven struct {
	log   string
	buses []world.Bus
}

var drivenLogs = map[string]driven{
	"rav4": {"rav4.log.zst", []world.Bus{
		{Name: "can0", DBC: []string{recorded("toyota_new_mc_pt.dbc")}}, {Name: "can1", DBC: []string{recorded("toyota_adas.dbc")}},
	}},
	"canmod1": {"canmod1.log.zst", []world.Bus{
		{Name: "can1", DBC: []string{recorded("OBD-v4.4.dbc")}}, {Name: "can2", DBC: []string{recorded("canmod-gps.dbc")}},
	}},
	"truck1": {"truck1.log.zst", []world.Bus{
		{Name: "can1", DBC: []string{recorded("j1939.dbc")}, J1939: true}, {Name: "can2", DBC: []string{recorded("canmod-gps.dbc")}},
	}},
}

func recorded(name string) string {
	path, err := filepath.Abs(filepath.Join(recordings, name))
	if err != nil {
		panic(err)
	}
	return path
}

const (
	wireSignals = 48
	wireBatches = 12 // of 60 s each
	wireSpeed   = 60
)

// BenchmarkWireHour counts the bytes that cross the link below TLS, both ways,
// for the 48 signals with most samples of each log at 1 Hz in batches of 60 s:
// a real agent and a real cloud, the log played in a loop at 60 times its
// speed. KB/hour is 60 batches in the long run; KB/connection what each
// connection costs on top: handshake, presence, subscriptions and the schema.
// At that speed no keep-alive is due; in real time there is at most one of some
// 100 bytes between two batches, so at most 6 KB/hour more.
func BenchmarkWireHour(b *testing.B) {
	for _, name := range []string{"rav4", "truck1", "canmod1"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				wireHour(b, drivenLogs[name])
			}
		})
	}
}

func wireHour(b *testing.B, d driven) {
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	dir := b.TempDir()
	campaign := filepath.Join(dir, "campaign.yaml")
	if err := os.WriteFile(campaign, []byte(slowCampaign(b, d)), 0o600); err != nil {
		b.Fatal(err)
	}
	w, v := oneVehicle(b, ctx, filepath.Join(dir, "world"), d.buses, "--campaign="+campaign,
		"--keep-alive=60s", "--will-delay=15s", "--session-expiry=300s")
	defer closeWorld(b, w)
	if err := v.Start(ctx); err != nil {
		b.Fatal(err)
	}
	log, err := drive.Scan(ctx, filepath.Join(recordings, d.log))
	if err != nil {
		b.Fatal(err)
	}
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: log, Hub: v.Hub, Speed: wireSpeed, Loop: true})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- player.Run(ctx) }()
	first := wireAfter(b, ctx, v, 2)
	last := wireAfter(b, ctx, v, wireBatches)
	player.Stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	s := v.Status()
	if s.Connection != 1 || s.Dropped > 0 {
		b.Fatalf("%d connections and %d dropped frames, expected 1 and none", s.Connection, s.Dropped)
	}
	each := float64(last.bytes-first.bytes) / float64(last.batches-first.batches)
	b.ReportMetric(each*60/1000, "KB/hour")
	b.ReportMetric((float64(last.bytes)-each*float64(last.batches))/1000, "KB/connection")
	b.ReportMetric(each, "B/batch")
	b.ReportMetric(float64(s.Samples)/float64(s.Batches)*60, "samples/hour")
}

// wired is how many batches had been acknowledged when so many bytes had crossed the link.
type wired struct {
	batches uint64
	bytes   int64
}

// wireAfter waits until n batches are acknowledged and the link is quiet.
func wireAfter(b *testing.B, ctx context.Context, v *world.Device, n uint64) wired {
	b.Helper()
	for ctx.Err() == nil {
		before := v.Status()
		up, down := v.Link.Bytes()
		time.Sleep(300 * time.Millisecond) // longer than the agent's report interval, shorter than a batch
		after := v.Status()
		up2, down2 := v.Link.Bytes()
		if before.Acked >= n && before.Acked == after.Acked && after.Waiting == 0 && up+down == up2+down2 {
			return wired{after.Acked, up + down}
		}
	}
	b.Fatalf("%d batches were not acknowledged: %+v", n, v.Status())
	return wired{}
}

// slowCampaign asks for the signals with most samples once a second.
func slowCampaign(b *testing.B, d driven) string {
	b.Helper()
	plan, err := compileBuses(d.buses)
	if err != nil {
		b.Fatal(err)
	}
	counts := countSamples(b, d, plan)
	order := make([]int, len(counts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(counts[y], counts[x]) })
	var doc strings.Builder
	doc.WriteString("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: slow, revision: 1}\nspec:\n  signals:\n")
	for i, signal := range order[:wireSignals] {
		if counts[signal] == 0 {
			break
		}
		s := plan.Signals()[signal]
		fmt.Fprintf(&doc, "    s%d: {path: %q}\n", i, s.Bus+"."+s.Message+"."+s.Name)
	}
	doc.WriteString("  collect:\n    - {id: slow, every: 1s}\n  encoding: {batch: {age: 60s}}\n")
	return doc.String()
}

func countSamples(b *testing.B, d driven, plan *dbc.Plan) []int {
	b.Helper()
	reader, err := drive.Open(filepath.Join(recordings, d.log))
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	counts, raw := make([]int, len(plan.Signals())), make([]int64, plan.MaxSignals())
	list := make([]drive.Recorded, 256)
	for {
		n, err := reader.Next(list)
		for i := range list[:n] {
			bus := slices.Index(plan.Buses(), list[i].Bus)
			if bus < 0 {
				continue
			}
			layout, found := plan.Decode(bus, &list[i].Frame, raw)
			if found > 0 {
				for _, s := range plan.Layouts()[layout].Signals {
					counts[s]++
				}
			}
		}
		if err == io.EOF {
			return counts
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// oneVehicle starts a cloud and makes a vehicle, whose agent is not started yet.
func oneVehicle(b *testing.B, ctx context.Context, dir string, buses []world.Bus, flags ...string) (*world.World, *world.Device) {
	b.Helper()
	return vehicleOf(b, ctx, dir, world.VehicleConfig{}, world.DeviceConfig{Buses: buses, Flags: flags})
}

// vehicleOf is oneVehicle for what is more than buses.
func vehicleOf(b *testing.B, ctx context.Context, dir string, cfg world.VehicleConfig, device world.DeviceConfig) (*world.World, *world.Device) {
	b.Helper()
	cfg.Name, device.Name = "anna", "tcu-a"
	built, err := sound()
	if err != nil {
		b.Fatal(err)
	}
	w, err := world.New(world.Config{Dir: dir, Programs: built, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := w.StartCloud(ctx); err != nil {
		b.Fatal(err)
	}
	v, err := w.AddDevice(ctx, cfg, device)
	if err != nil {
		b.Fatal(err)
	}
	return w, v
}

func closeWorld(b *testing.B, w *world.World) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 30*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		b.Error(err)
	}
}

// classic makes a frame with 8 bytes.
func classic(at int64, id can.ID, data [8]byte) can.Frame {
	f := can.Frame{Time: at, ID: id, Len: 8}
	copy(f.Data[:], data[:])
	return f
}
