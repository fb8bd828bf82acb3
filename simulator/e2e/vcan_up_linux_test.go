package e2e_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
	"telltale.dev/simulator/drive"
)

// upPatience bounds each wait for what runs in software emulation.
const upPatience = 60 * time.Second

// TestUpOnVcan types README's telltale up with a bus of the kernel, plays the
// recording there as canplayer does, looks at the state and ends it with Ctrl-C:
// once as root, and once as a user who may nothing, by README's unshare.
func TestUpOnVcan(t *testing.T) {
	t.Parallel()
	line := consoleLine(t, "bin/telltale up --can vcan0")
	t.Run("as root", func(t *testing.T) {
		vcan(t, "vcan0")
		ownBus(t, startUp(t, command(t, line)))
	})
	t.Run("without root", func(t *testing.T) {
		ownBus(t, startUp(t, unshared(t, "exec "+line)))
	})
	t.Run("two buses and a log", func(t *testing.T) {
		vcan(t, "vcan2", "vcan3")
		u := startUp(t, command(t, "bin/telltale up --mqtt 127.0.0.1:0 --http 127.0.0.1:0 --can can0=vcan2 --can can1=vcan3 --speed 4"+
			" --log simulator/recordings/rav4.log.zst --dbc can0=simulator/recordings/toyota_new_mc_pt.dbc --dbc can1=simulator/recordings/toyota_adas.dbc"))
		first, second := u.observe(t, "vcan2"), u.observe(t, "vcan3")
		known := u.state(t, func(known map[string]signalState) bool { // the log plays already when the observers come
			return len(buses(known)) == 2 && known[speedSignal].Time.UnixMilli() >= first.began()
		})
		first.expect(t, known, false)
		if first.count() == 0 || second.count() == 0 {
			t.Errorf("got %d and %d frames on the interfaces, want some", first.count(), second.count())
		}
		u.interrupt(t)
	})
}

// canplayerLine is what telltale up prints for an interface; its path is absolute.
var canplayerLine = regexp.MustCompile(`canplayer -l i -I /\S+/\.telltale/up/recordings/rav4\.log vcan0=can0`)

// ownBus sends on the interface of a running telltale up and looks at what became of it.
func ownBus(t *testing.T, u *up) {
	o := u.observe(t, "vcan0")
	if n := u.play(t, "can0", "vcan0", 3*time.Second); n == 0 {
		t.Fatal("got no frame of can0 in the recording")
	}
	var known map[string]signalState
	u.state(t, func(now map[string]signalState) bool {
		known = now
		return now[speedSignal].Time.UnixMilli() == o.last()
	})
	o.expect(t, known, true)
	if got := buses(known); len(got) != 1 || !got["can0"] {
		t.Errorf("got the buses %v, want can0 alone", got)
	}
	out := u.run(t, "telltale", "state", "anna", "--signal", "SPEED*")
	if want := fmt.Sprintf("%.10g", *known[speedSignal].Value); !strings.Contains(out, want) {
		t.Errorf("telltale state: got %s, want %s", out, want)
	}
	if text := strings.Join(u.lines, "\n"); !canplayerLine.MatchString(text) {
		t.Errorf("got no line with canplayer that works in any folder in\n%s", text)
	}
	u.interrupt(t)
}

// consoleLine gives the one command of README's console blocks that begins so, without its comment.
func consoleLine(t *testing.T, begins string) (found string) {
	t.Helper()
	for line := range strings.Lines(readme(t)) {
		if line, _, _ = strings.Cut(strings.TrimSpace(line), "  #"); strings.HasPrefix(line, begins) {
			if found != "" {
				t.Fatalf("README.md: got two lines %s…, want one", begins)
			}
			found = strings.TrimSpace(line)
		}
	}
	if found == "" {
		t.Fatalf("README.md: got no line %s…", begins)
	}
	return found
}

// nobody is a user who may nothing.
const nobody = 65534

// checkout is a folder that looks like the repository after make build, and that anybody may write to.
func checkout(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "checkout-") // those of t.TempDir are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, target := range map[string]string{"bin": programs(t), "simulator": filepath.Join(root, "simulator")} {
		if target, err = filepath.Abs(target); err == nil {
			err = os.Symlink(target, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command is a line without quotes, in a checkout of its own.
func command(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	dir, args := checkout(t), strings.Fields(line)
	cmd := exec.Command(filepath.Join(dir, args[0]), args[1:]...)
	cmd.Dir = dir
	return cmd
}

// unshared types a line into the shell of README's unshare, which makes a
// network and interfaces, as a user who has none of root's rights.
func unshared(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	if os.Getenv("TELLTALE_VM") != "1" {
		t.Skip("starts as root: in the virtual machine only (make demo-vm)")
	}
	cmd := exec.Command("sh", "-c", "exec "+consoleLine(t, "unshare "))
	cmd.Dir, cmd.Stdin = checkout(t), strings.NewReader(line+"\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// up is a telltale up that runs.
type up struct {
	cmd   *exec.Cmd
	lines []string // what it printed
	ended bool
}

// startUp starts it and waits until it is ready.
func startUp(t *testing.T, cmd *exec.Cmd) *up {
	t.Helper()
	u := &up{cmd: cmd}
	u.cmd.Stderr = os.Stderr
	out, err := u.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !u.ended {
			_ = u.cmd.Process.Kill()
			_ = u.cmd.Wait()
		}
	})
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if strings.HasPrefix(scan.Text(), "Ctrl-C") {
			return u
		}
		u.lines = append(u.lines, scan.Text())
	}
	t.Fatalf("telltale up ended before it was ready\n%s", strings.Join(u.lines, "\n"))
	return nil
}

// interrupt presses Ctrl-C and waits for the end.
func (u *up) interrupt(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := u.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- u.cmd.Wait() }()
	select {
	case err := <-end:
		u.ended = true
		if err != nil {
			t.Errorf("got %v after Ctrl-C, want exit code 0", err)
		}
		t.Logf("ended %.1f s after Ctrl-C", time.Since(began).Seconds())
	case <-time.After(upPatience):
		t.Fatal("it did not end after Ctrl-C")
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		if text, _ := os.ReadFile(name); strings.Contains(string(text), u.cmd.Dir) {
			t.Errorf("left over: %s", strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
}

// inside runs do in the network of u: sockets that it makes and processes that it starts belong there.
func (u *up) inside(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		done <- func() error {
			f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", u.cmd.Process.Pid))
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil && os.Getuid() == 0 {
				return err
			}
			return do()
		}()
	}()
	return <-done
}

// run runs a program in the network of u and gives its output.
func (u *up) run(t *testing.T, name string, args ...string) (out string) {
	t.Helper()
	err := u.inside(func() error {
		cmd := exec.CommandContext(t.Context(), filepath.Join(u.cmd.Dir, "bin", name), args...)
		text, err := cmd.CombinedOutput()
		out = string(text)
		return err
	})
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// open attaches to an interface in the network of u.
func (u *up) open(t *testing.T, iface string) (bus canbus.Bus) {
	t.Helper()
	err := u.inside(func() (err error) {
		bus, err = socketcan.Open(t.Context(), socketcan.Options{Interface: iface})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// play sends what the recording has of a bus, at four times its speed.
func (u *up) play(t *testing.T, bus, iface string, d time.Duration) (frames int) {
	t.Helper()
	out := u.open(t, iface)
	defer out.Close()
	log, err := drive.Scan(t.Context(), filepath.Join(recordings, "rav4.log.zst"))
	if err != nil {
		t.Fatal(err)
	}
	player, err := drive.NewPlayer(drive.PlayerConfig{Log: log, Speed: 4, Send: func(name string, list []can.Frame) error {
		if name != bus {
			return nil
		}
		frames += len(list)
		return out.(canbus.Sender).Send(t.Context(), list)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := player.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the time-out", err)
	}
	return frames
}

// observer is a socket of its own on an interface.
type observer struct {
	mu     sync.Mutex // guards all below
	frames int
	speeds map[int64][]float64 // km/h, by time in ms: a frame may come in the ms of the one before, and in the next batch
	oldest int64               // time of the first frame with the speed, in ms
	newest int64
}

// observe looks at an interface until the test ends.
func (u *up) observe(t *testing.T, iface string) *observer {
	t.Helper()
	bus := u.open(t, iface)
	o := &observer{speeds: map[int64][]float64{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for frames := make([]can.Frame, 256); ; {
			n, err := bus.Receive(t.Context(), frames)
			if err != nil {
				return
			}
			o.add(frames[:n])
		}
	}()
	t.Cleanup(func() { _ = bus.Close(); <-done })
	return o
}

// The message and signal that are looked at: BO_ 180 SPEED, SG_ SPEED : 47|16@0+ (0.01,0).
const (
	speedID     = 180
	speedSignal = "can0 SPEED SPEED"
	speedUnit   = 0.01 // km/h
)

func (o *observer) add(frames []can.Frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames += len(frames)
	for i := range frames {
		if f := &frames[i]; f.ID == speedID {
			if o.newest = f.Time / 1000; o.oldest == 0 {
				o.oldest = o.newest
			}
			o.speeds[o.newest] = append(o.speeds[o.newest], float64(binary.BigEndian.Uint16(f.Data[5:]))*speedUnit)
		}
	}
}

func (o *observer) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.frames
}

// began is the time of the first frame with the speed, in ms; later than any time before there is one.
func (o *observer) began() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest == 0 {
		return math.MaxInt64
	}
	return o.oldest
}

// last is the time of the newest frame with the speed, in ms.
func (o *observer) last() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

// expect holds the state against what was on the bus: the speed is that of a frame, of the last one when the bus is silent.
func (o *observer) expect(t *testing.T, known map[string]signalState, last bool) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := known[speedSignal]
	at := s.Time.UnixMilli()
	want := o.speeds[at]
	if len(want) == 0 || s.Value == nil {
		t.Errorf("got the state %+v, want that of a frame with the speed, of %d to %d ms", s, o.oldest, o.newest)
		return
	}
	if last {
		want = want[len(want)-1:]
	}
	near := func(speed float64) bool { return math.Abs(*s.Value-speed) <= speedUnit/10 }
	if !slices.ContainsFunc(want, near) || last && at != o.newest {
		t.Errorf("got the speed %v at %d ms, want one of %v; the last was at %d ms", *s.Value, at, want, o.newest)
	}
}

// signalState is what the API says of a signal.
type signalState struct {
	Bus, Message, Signal string
	Time                 time.Time
	Value                *float64
}

// state asks by the curl line that telltale up printed, until the answer is good.
func (u *up) state(t *testing.T, good func(map[string]signalState) bool) map[string]signalState {
	t.Helper()
	address := ""
	for _, line := range u.lines {
		if rest, ok := strings.CutPrefix(line, "curl http"); ok && strings.HasSuffix(rest, "/state") {
			address = "http" + rest
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (conn net.Conn, err error) {
		err = u.inside(func() error { conn, err = net.Dial(network, addr); return err })
		return conn, err
	}}}
	var body []byte
	for end := time.Now().Add(upPatience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		resp, err := client.Get(address)
		if err != nil {
			t.Fatalf("curl %s: %v", address, err)
		}
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		var list []signalState
		if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &list) != nil {
			continue // the vehicle has sent nothing yet
		}
		known := map[string]signalState{}
		for _, s := range list {
			known[s.Bus+" "+s.Message+" "+s.Signal] = s
		}
		if good(known) {
			return known
		}
	}
	t.Fatalf("curl %s: got %.300s, want a newer state", address, body)
	return nil
}

// buses are those that a state has signals of.
func buses(known map[string]signalState) map[string]bool {
	list := map[string]bool{}
	for _, s := range known {
		list[s.Bus] = true
	}
	return list
}
