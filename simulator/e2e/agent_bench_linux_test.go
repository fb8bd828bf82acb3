package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
	"telltale.dev/simulator/drive"
	"telltale.dev/simulator/world"
)

// BenchmarkAgentProcess is what the agent costs its machine while it collects
// every sample and a cloud takes it: peak resident memory, and CPU in thousandths
// of one core, from /proc.
func BenchmarkAgentProcess(b *testing.B) {
	b.Run("rav4 in recorded time", func(b *testing.B) {
		for b.Loop() {
			d := drivenLogs["rav4"]
			agentCosts(b, d.buses, func(ctx context.Context, v *world.Device) error {
				log, err := drive.Scan(ctx, filepath.Join(recordings, d.log))
				if err != nil {
					return err
				}
				player, err := drive.NewPlayer(drive.PlayerConfig{Log: log, Hub: v.Hub, Speed: 1})
				if err != nil {
					return err
				}
				return player.Run(ctx)
			})
		}
	})
	b.Run("4 buses of 4000 frames a second and 2016 signals", func(b *testing.B) {
		for b.Loop() {
			agentCosts(b, busyBuses(b, busyCount), func(ctx context.Context, v *world.Device) error {
				return sendBusy(ctx, v, busyRate)
			})
		}
	})
}

// BenchmarkAgentOnVcan is what the agent costs its machine when two interfaces
// of the kernel are busy and it collects every signal of theirs to its disk;
// the cloud is away, since here it would have to share the machine.
func BenchmarkAgentOnVcan(b *testing.B) {
	const count, rate = 2, 8000
	vcan(b, "vcan0", "vcan1")
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
		w, v := vehicleOf(b, ctx, filepath.Join(b.TempDir(), "world"),
			world.VehicleConfig{Interfaces: map[string]string{"can0": "vcan0", "can1": "vcan1"}}, world.DeviceConfig{Buses: busyBuses(b, count)})
		if err := v.Start(ctx); err != nil {
			b.Fatal(err)
		}
		if err := w.StopCloud(ctx); err != nil {
			b.Fatal(err)
		}
		boot := measure(b, ctx, v, func(ctx context.Context, v *world.Device) error { return sendBusy(ctx, v, rate) })
		if sent := uint64(count * rate * int(busyLength/time.Second)); boot.Received+boot.Dropped != sent {
			b.Errorf("%d frames received and %d dropped, want %d in all", boot.Received, boot.Dropped, sent)
		}
		closeWorld(b, w)
		cancel()
	}
	b.ReportMetric(0, "ns/op")
}

// agentCosts runs a drive and reports what the agent used during it.
func agentCosts(b *testing.B, buses []world.Bus, run func(context.Context, *world.Device) error) {
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	w, v := oneVehicle(b, ctx, filepath.Join(b.TempDir(), "world"), buses)
	defer closeWorld(b, w)
	if err := v.Start(ctx); err != nil {
		b.Fatal(err)
	}
	measure(b, ctx, v, run)
}

// measure runs a drive of a vehicle that is powered, ends its agent and reports what that used.
func measure(b *testing.B, ctx context.Context, v *world.Device, run func(context.Context, *world.Device) error) report.Boot {
	b.Helper()
	pid := v.Starts()[0].PID
	before, began := cpuOf(b, pid), time.Now()
	if err := run(ctx, v); err != nil {
		b.Fatal(err)
	}
	took, used, peak := time.Since(began), cpuOf(b, pid)-before, peakOf(b, pid)
	if err := v.Stop(ctx); err != nil {
		b.Fatal(err)
	}
	account, err := v.Account(ctx)
	if err != nil {
		b.Fatal(err)
	}
	boot := account.Boots[0]
	b.ReportMetric(float64(used)/float64(took)*1000, "mCPU")
	b.ReportMetric(float64(used.Nanoseconds())/float64(boot.Samples), "cpu-ns/sample")
	b.ReportMetric(float64(peak)/(1<<20), "RSS-MiB")
	b.ReportMetric(float64(boot.Received)/took.Seconds(), "frames/s")
	b.ReportMetric(float64(boot.Samples)/took.Seconds(), "samples/s")
	b.ReportMetric(float64(boot.Bytes)/float64(boot.Samples), "B/sample")
	b.ReportMetric(float64(boot.Dropped), "dropped")
	return boot
}

// cpuOf is user and system time of a process; see proc(5), stat.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	const utime, stime, perSecond = 11, 12, 100 // USER_HZ is 100 on every Linux that Go runs on
	fields := strings.Fields(rest)
	ticks := 0
	for _, i := range [...]int{utime, stime} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / perSecond
}

// peakOf is the most resident memory that a process has had, in bytes.
func peakOf(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}

// The made-up vehicle: 2016 signals of one byte.
const (
	busyCount    = 4
	busyMessages = 63 // of each bus, with 8 signals each
	busyRate     = 4000
	busyLength   = 30 * time.Second
	busyStep     = 10 * time.Millisecond
)

func busyBuses(b *testing.B, count int) (list []world.Bus) {
	b.Helper()
	for bus := range count {
		var text strings.Builder
		text.WriteString("VERSION \"\"\nBU_: ECU\n")
		for m := range busyMessages {
			fmt.Fprintf(&text, "BO_ %d M%d_%d: 8 ECU\n", 0x100+m, bus, m)
			for s := range 8 {
				fmt.Fprintf(&text, " SG_ S%d_%d_%d : %d|8@1+ (0.5,-20) [0|0] \"\" ECU\n", bus, m, s, 8*s)
			}
		}
		path := filepath.Join(b.TempDir(), fmt.Sprintf("bus%d.dbc", bus))
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		list = append(list, world.Bus{Name: fmt.Sprintf("can%d", bus), DBC: []string{path}})
	}
	return list
}

// sendBusy puts frames on the buses in real time. Of the 8 bytes of a message
// two move by a step now and then, one counts and one is noise.
func sendBusy(ctx context.Context, v *world.Device, rate int) error {
	random := rand.New(rand.NewPCG(3, 4))
	var data [busyCount][busyMessages][8]byte
	list := make([]can.Frame, rate*int(busyStep)/int(time.Second))
	began, next := time.Now(), 0
	for sent := time.Duration(0); sent < busyLength && ctx.Err() == nil; sent += busyStep {
		time.Sleep(time.Until(began.Add(sent)))
		at := time.Now().UnixMicro()
		for bus, b := range v.Buses() {
			for i := range list {
				m := (next + i) % busyMessages
				d := &data[bus][m]
				d[random.IntN(2)] += byte(random.IntN(3)) - 1
				d[2]++
				d[3] = byte(random.Uint32())
				list[i] = classic(at+int64(i)*busyStep.Microseconds()/int64(len(list)), can.ID(0x100+m), *d)
			}
			if err := v.Send(b.Name, list); err != nil {
				return err
			}
		}
		next += len(list)
	}
	return ctx.Err()
}
