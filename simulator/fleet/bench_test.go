package fleet_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/simulator/fleet"
)

// The load of the benchmarks.
const (
	benchVehicles = 1000
	benchSize     = 1 << 10
	benchTime     = 10 * time.Second
	floodTime     = 24 * time.Second
	floodPulse    = time.Second
	floodRate     = 2 // messages a second of each normal vehicle
)

// BenchmarkIngest is how fast 1,000 vehicles get QoS 1 messages of 1 KiB
// acknowledged: by the cloud, which has them on disk then, and by mosquitto, which
// stores nothing. One round is a run of ten seconds; both brokers and the load
// share this machine, so that figures of one run compare with each other only.
func BenchmarkIngest(b *testing.B) {
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprintf("cloud/window=%d", window), func(b *testing.B) {
			for b.Loop() {
				cloud := startCloud(b)
				list, roots := cloud.vehicles(b, benchVehicles)
				measure(b, cloud, fleet.Config{Address: cloud.addr, Roots: roots, Vehicles: list, Window: window})
				cloud.stop(b)
			}
		})
		b.Run(fmt.Sprintf("mosquitto/window=%d", window), func(b *testing.B) {
			for b.Loop() {
				broker, cert, roots := startMosquitto(b)
				list, err := fleet.Names("bench", benchVehicles)
				if err != nil {
					b.Fatal(err)
				}
				for i := range list {
					list[i].Certificate = cert
				}
				measure(b, broker, fleet.Config{Address: broker.addr, Roots: roots, Vehicles: list, Window: window})
				broker.stop(b)
			}
		})
	}
}

// measure drives the load and reports what came of it.
func measure(b *testing.B, broker *server, cfg fleet.Config) {
	cfg.Random, cfg.Duration = benchSize, benchTime
	got, cpu := drive(b, broker, cfg)
	n := got.Normal
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(got.Rate, "messages/s")
	b.ReportMetric(n.P50, "p50-ms")
	b.ReportMetric(n.P99, "p99-ms")
	b.ReportMetric(float64(n.Published-n.Acked), "refused")
	if cpu > 0 {
		b.ReportMetric(cpu.Seconds()*1e6/(got.Rate*got.Seconds), "cpu-µs/message")
	}
}

// BenchmarkIngestFlood is what 999 vehicles notice of one that floods: it rests
// and floods in turn, a second each, so that both are measured under the same
// circumstances; the figures are medians over the seconds.
func BenchmarkIngestFlood(b *testing.B) {
	for b.Loop() {
		cloud := startCloud(b)
		list, roots := cloud.vehicles(b, benchVehicles)
		got, _ := drive(b, cloud, fleet.Config{
			Address: cloud.addr, Roots: roots, Vehicles: list, Window: 8, Random: benchSize,
			Rate: floodRate, Flood: 1, Pulse: floodPulse, Duration: floodTime,
		})
		cloud.stop(b)
		if got.Flooding.Refused["0x97"] == 0 {
			b.Errorf("the flooding vehicle was refused nothing with 0x97: %+v", got.Flooding)
		}
		if n := got.Normal; n.Acked != n.Published {
			b.Errorf("normal vehicles: %d of %d acked", n.Acked, n.Published)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(got.Pulse.Calm.P99, "calm-p99-ms")
		b.ReportMetric(got.Pulse.Flood.P99, "flood-p99-ms")
		b.ReportMetric(got.Pulse.Flood.P50/got.Pulse.Calm.P50, "p50-ratio")
		b.ReportMetric(got.Pulse.Flood.P99/got.Pulse.Calm.P99, "p99-ratio")
		b.ReportMetric(float64(got.Flooding.Refused["0x97"]), "flood-refused")
	}
}

// floodDevices are the devices of the flooding vehicle in BenchmarkFloodWithoutPause.
var floodDevices = []int{1, 32}

// BenchmarkFloodWithoutPause is what 999 vehicles notice of one that floods all the time, with one device and with 32. A
// run of its own says what they see without it: a flood that rests leaves time to recover, which one that goes on does not.
func BenchmarkFloodWithoutPause(b *testing.B) {
	for _, devices := range floodDevices {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			for b.Loop() {
				calm := floodBeside(b, 0)
				flood := floodBeside(b, devices)
				if n := flood.Normal; n.Acked != n.Published {
					b.Errorf("normal vehicles: %d of %d acked", n.Acked, n.Published)
				}
				if flood.Flooding.Refused["0x97"] == 0 {
					b.Errorf("the flooding vehicle was refused nothing with 0x97: %+v", flood.Flooding)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(calm.Normal.P99, "calm-p99-ms")
				b.ReportMetric(flood.Normal.P99, "flood-p99-ms")
				b.ReportMetric(flood.Normal.P50/calm.Normal.P50, "p50-ratio")
				b.ReportMetric(flood.Normal.P99/calm.Normal.P99, "p99-ratio")
				b.ReportMetric(float64(flood.Flooding.Refused["0x97"]), "flood-refused")
			}
		})
	}
}

// floodBeside drives the normal vehicles, and beside them one with so many devices that flood.
func floodBeside(b *testing.B, devices int) *fleet.Summary {
	b.Helper()
	list, err := fleet.Names("test", benchVehicles-1+devices)
	if err != nil {
		b.Fatal(err)
	}
	for i := benchVehicles; i < len(list); i++ { // devices after the first are of the same vehicle
		list[i].Vehicle = list[benchVehicles-1].Vehicle
		list[i].Device = protocol.DeviceID(fmt.Sprintf("flood-%d", i))
	}
	cloud := startCloud(b)
	defer cloud.stop(b)
	roots, err := fleet.Issue(b.Context(), cloud.program, cloud.dir, list)
	if err != nil {
		b.Fatal(err)
	}
	got, _ := drive(b, cloud, fleet.Config{
		Address: cloud.addr, Roots: roots, Vehicles: list, Window: 8, Random: benchSize,
		Rate: floodRate, Flood: devices, Duration: benchTime,
	})
	return got
}

// The load of BenchmarkHotBesideBulk: 250 urgent messages a second, and beside them 20 times as many of bulk.
const (
	hotVehicles  = 50
	hotRate      = 5
	bulkVehicles = 50
	bulkRate     = 100
)

// BenchmarkHotBesideBulk is what urgent messages notice of bulk data: the bulk rests and comes in turn, a second
// each, in one run, and the figures are medians over the seconds. The load is on this machine, too.
func BenchmarkHotBesideBulk(b *testing.B) {
	for b.Loop() {
		cloud := startCloud(b)
		list, roots := cloud.vehicles(b, hotVehicles+bulkVehicles)
		got, _ := drive(b, cloud, fleet.Config{
			Address: cloud.addr, Roots: roots, Vehicles: list, Window: 8, Random: benchSize,
			Rate: hotRate, Flood: bulkVehicles, BulkRate: bulkRate, Pulse: floodPulse, Duration: floodTime,
		})
		cloud.stop(b)
		if n := got.Normal; n.Acked != n.Published {
			b.Errorf("urgent messages: %d of %d acked", n.Acked, n.Published)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(got.Pulse.Calm.P99, "alone-p99-ms")
		b.ReportMetric(got.Pulse.Flood.P99, "beside-p99-ms")
		b.ReportMetric(got.Pulse.Flood.P99/got.Pulse.Calm.P99, "p99-ratio")
		b.ReportMetric(got.Pulse.Flood.P50/got.Pulse.Calm.P50, "p50-ratio")
		b.ReportMetric(2*float64(got.Flooding.Acked)/got.Seconds, "bulk/s") // in the seconds in which it comes
	}
}

// connectVehicles is how many vehicles BenchmarkConnect connects; connectRest is how long they are silent then, but for
// the least that keeps a connection: time enough for a collection or two.
const (
	connectVehicles = 3000
	connectRest     = 15 * time.Second
	connectAgain    = time.Second // the same where only the CPU is looked at
)

// BenchmarkConnect is what a connection with a client certificate costs: CPU of the broker's process for a full connect
// when all come at once (CONNECT with a will, and a first presence), and memory of a connection that is at rest, of the
// cloud after the upload of a schema document, too. The cloud and mosquitto take turns in one run. Both verify a chain
// of two certificates. The first time, when the cloud stores who each vehicle is, is a figure of its own; the others are
// of vehicles that come again, with whole handshakes. Vehicles offer X25519MLKEM768 and X25519 (Go's default): mosquitto
// with OpenSSL before 3.5 knows only the second one, which is the cheaper.
func BenchmarkConnect(b *testing.B) {
	names, err := fleet.Names("bench", connectVehicles)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		other, cert, roots := startMosquitto(b)
		for i := range names {
			names[i].Certificate = cert
		}
		cfg := fleet.Config{Address: other.addr, Roots: roots, Vehicles: names, Random: 1}
		_, plainBytes := connectAll(b, other, cfg, connectRest)
		plain, _ := connectAll(b, other, cfg, connectAgain)
		other.stop(b)

		cloud := startCloud(b)
		list, roots := cloud.vehicles(b, connectVehicles)
		cfg = fleet.Config{Address: cloud.addr, Roots: roots, Vehicles: list, Random: 1}
		first, _ := connectAll(b, cloud, cfg, connectRest)
		ours, _ := connectAll(b, cloud, cfg, connectAgain)
		cloud.stop(b)

		cloud = startCloud(b)
		list, roots = cloud.vehicles(b, connectVehicles)
		withSchema, bytes := connectAll(b, cloud, fleet.Config{Address: cloud.addr, Roots: roots, Vehicles: list}, connectRest)
		cloud.stop(b)

		b.ReportMetric(0, "ns/op")
		b.ReportMetric(ours.Seconds()*1e6/connectVehicles, "cpu-µs/connect")
		b.ReportMetric(first.Seconds()*1e6/connectVehicles, "first-cpu-µs/connect")
		b.ReportMetric(withSchema.Seconds()*1e6/connectVehicles, "schema-cpu-µs/connect")
		b.ReportMetric(plain.Seconds()*1e6/connectVehicles, "mosquitto-cpu-µs/connect")
		b.ReportMetric(ours.Seconds()/plain.Seconds(), "cpu-ratio")
		b.ReportMetric(float64(bytes)/1e3/connectVehicles, "kB/connection")
		b.ReportMetric(float64(plainBytes)/1e3/connectVehicles, "mosquitto-kB/connection")
	}
}

// connectAll connects all vehicles at once, and gives the CPU time that it took the broker, and by how many bytes its
// resident memory has grown when they are at rest.
func connectAll(b *testing.B, broker *server, cfg fleet.Config, rest time.Duration) (cpu time.Duration, bytes int64) {
	b.Helper()
	pid := broker.cmd.Process.Pid
	before, resting := cpuTime(pid), resident(pid)
	cfg.Rate, cfg.Duration = 0.01, rest
	cfg.Began = func() { cpu = cpuTime(pid) - before }
	cfg.Ended = func() { bytes = resident(pid) - resting }
	got, err := fleet.Run(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if len(got.Errors) > 0 || got.Connected != len(cfg.Vehicles) {
		b.Errorf("%d of %d connected, errors %v", got.Connected, len(cfg.Vehicles), got.Errors)
	}
	return cpu, bytes
}

// resident is VmRSS of a process in bytes (proc(5)); 0 where there is no /proc.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// drive runs the load, and gives the CPU time of the broker's process while publishing.
func drive(b *testing.B, broker *server, cfg fleet.Config) (*fleet.Summary, time.Duration) {
	b.Helper()
	var began, ended time.Duration
	cfg.Ramp = 500
	cfg.Began = func() { began = cpuTime(broker.cmd.Process.Pid) }
	cfg.Ended = func() { ended = cpuTime(broker.cmd.Process.Pid) }
	got, err := fleet.Run(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if len(got.Errors) > 0 || got.Connected != len(cfg.Vehicles) {
		b.Errorf("%d of %d connected, errors %v", got.Connected, len(cfg.Vehicles), got.Errors)
	}
	return got, ended - began
}

// cpuTime is utime and stime of a process, in steps of 10 ms (proc(5)); 0 where there is no /proc.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // from the third on
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * 10 * time.Millisecond
}
