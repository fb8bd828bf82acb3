package virtual_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale.dev/hal/canbus/canbustest"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
)

// The test binary runs itself as a reader when this is set.
const (
	childURL  = "TELLTALE_TEST_CHILD_URL"
	childMode = "TELLTALE_TEST_CHILD_MODE"
)

// child reads frames until the bus ends and prints one line: received, dropped, gaps as first-end.
func child(url, mode string) int {
	bus, err := virtual.Dial(context.Background(), url)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	defer bus.Close()
	fmt.Println("attached")
	buf, next := make([]can.Frame, 256), 0
	var gaps []string
	for {
		n, err := bus.Receive(context.Background(), buf)
		for i := range buf[:n] {
			if k := canbustest.Number(&buf[i]); k != next {
				gaps = append(gaps, fmt.Sprintf("%d-%d", next, k))
				if i > 0 {
					gaps = append(gaps, "inside a Receive")
				}
				next = k + 1
			} else {
				next++
			}
		}
		if err != nil {
			s := bus.Stats()
			fmt.Println(err, s.Received, s.Dropped, strings.Join(gaps, ","))
			return 0
		}
		if mode == "slow" {
			time.Sleep(time.Millisecond)
		}
	}
}

// spawn starts a reader process and waits until it is attached.
func spawn(t *testing.T, url, mode string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childURL+"="+url, childMode+"="+mode)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "attached\n" {
		t.Fatalf("reader said %q, %v", line, err)
	}
	return cmd, lines
}

// ranges writes an attachment's drops as child does.
func ranges(a virtual.Attachment) (text string, total uint64) {
	var all []string
	for _, r := range a.Dropped {
		all = append(all, fmt.Sprintf("%d-%d", r.First, r.End))
		total += r.End - r.First
	}
	return strings.Join(all, ","), total
}

func pour(wire *virtual.Wire, first, n int) {
	for k := first; k < first+n; k += 250 {
		wire.Send(canbustest.Numbered(k, 250))
	}
}

func TestStoppedReaderDropsExactly(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", socket(t)} {
		hub := start(t, address, virtual.Config{Buses: []string{"can0"}, RingFrames: 500})
		wire := hub.Bus("can0")
		wire.Send(canbustest.Numbered(0, 1)) // the reader starts at frame 1
		cmd, lines := spawn(t, hub.URL("can0"), "")
		before := time.Now()
		pour(wire, 1, 250)
		if err := hub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(20 * time.Millisecond)
		pour(wire, 251, 400_000) // far more than sockets and ring hold
		if took := time.Since(before); took > time.Minute {
			t.Errorf("the bus waited: %v", took)
		}
		stopped := hub.Attachments()[0]
		cmd.Process.Signal(syscall.SIGCONT)
		for k := 400_251; k < 401_251; k += 250 { // slow enough not to lose more
			wire.Send(canbustest.Numbered(k, 250))
			if err := hub.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		hub.Close()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		a := hub.Attachments()[0]
		text, dropped := ranges(a)
		want := fmt.Sprintf("EOF %d %d 0-1,%s\n", 401_250-dropped, dropped, text)
		if line != want {
			t.Errorf("reader says %q, hub %q", line, want)
		}
		if _, early := ranges(stopped); early == 0 || early > dropped || a.First != 1 || a.Next != 401_251 {
			t.Errorf("got %d dropped while it stood, %d in the end; first %d, next %d", early, dropped, a.First, a.Next)
		}
		t.Logf("%s: dropped %d in %d ranges", address, dropped, len(a.Dropped))
	}
}

func TestSlowReaderAddsUp(t *testing.T) {
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0"}, RingFrames: 300})
	_, lines := spawn(t, hub.URL("can0"), "slow")
	for k := 0; k < 300_000; k += 250 {
		hub.Bus("can0").Send(canbustest.Numbered(k, 250))
		if k%5000 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if err := hub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	hub.Close()
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	text, dropped := ranges(hub.Attachments()[0])
	if want := fmt.Sprintf("EOF %d %d %s\n", 300_000-dropped, dropped, text); line != want {
		t.Errorf("reader says %.200q, hub %.200q", line, want)
	}
	t.Logf("dropped %d in %d ranges", dropped, len(hub.Attachments()[0].Dropped))
}

func TestKilledReaderIsForgotten(t *testing.T) {
	gone := make(chan virtual.Attachment, 1)
	hub := start(t, socket(t), virtual.Config{Buses: []string{"can0"}, OnDetach: func(a virtual.Attachment) { gone <- a }})
	cmd, _ := spawn(t, hub.URL("can0"), "")
	other := dial(t, hub.URL("can0"))
	pour(hub.Bus("can0"), 0, 1000)
	cmd.Process.Kill()
	var a virtual.Attachment
	select {
	case a = <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("the hub does not notice that the reader is gone")
	}
	if !a.Ended || a.PID != cmd.Process.Pid || a.End != 1000 || a.Next > 1000 {
		t.Errorf("got %+v", a)
	}
	pour(hub.Bus("can0"), 1000, 1000)
	if got := receive(t, other, 2000); canbustest.Number(&got[1999]) != 1999 {
		t.Errorf("the other reader got %+v last", got[1999])
	}
	if err := hub.Drain(t.Context()); err != nil { // nobody waits for the dead
		t.Fatal(err)
	}
}

// TestGarbage sends what is no protocol, before and after a proper hello.
func TestGarbage(t *testing.T) {
	hub := start(t, "127.0.0.1:0", virtual.Config{Buses: []string{"can0"}})
	hello := "TTVC\x01\x00\x00\x00\x00\x04can0\x00"
	message := func(body string) string {
		return hello + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body
	}
	frame := func(id, flags, length string) string {
		return "\x01" + strings.Repeat("\x00", 8) + "\x01\x00" + strings.Repeat("\x00", 8) + id + flags + length
	}
	tests := []struct{ name, send, want string }{
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no virtual bus"},
		{"other version", "TTVC\x09\x00\x00\x00\x00\x04can0\x00", "version 9"},
		{"long name", "TTVC\x01\x00\x00\x00\x00\xFF" + strings.Repeat("x", 300), "at most 64"},
		{"bad name", "TTVC\x01\x00\x00\x00\x00\x04ca\n0\x00", "letters"},
		{"empty message", message(""), "0 bytes"},
		{"huge message", hello + "\xFF\xFF\xFF\xFF", "4294967295 bytes"},
		{"unknown kind", message("\x07" + strings.Repeat("x", 30)), "unknown kind"},
		{"no frames", message("\x01" + strings.Repeat("\x00", 10)), "0 frames"},
		{"frame cut off", message(frame("\x00\x00\x00\x00", "\x00", "\x08") + "abc"), "cut off"},
		{"too long frame", message(frame("\x00\x00\x00\x00", "\x00", "\x09") + "abcdefghi"), "9 bytes"},
		{"bad identifier", message(frame("\xFF\xFF\x00\x00", "\x00", "\x00")), "FFFF"},
		{"bytes behind", message(frame("\x00\x00\x00\x00", "\x00", "\x00") + "abc"), "too many"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(hub.URL("x"), "virtual://"), "/x"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.send)
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			answer := make([]byte, 4096)
			for n := 0; ; {
				m, err := conn.Read(answer[n:])
				n += m
				if strings.Contains(string(answer[:n]), c.want) {
					break
				}
				if err != nil {
					t.Fatalf("got %q, %v, want %q", answer[:n], err, c.want)
				}
			}
		})
	}
	pour(hub.Bus("can0"), 0, 250) // and the hub still works
	bus := dial(t, hub.URL("can0"))
	pour(hub.Bus("can0"), 250, 250)
	receive(t, bus, 250)
}

// TestPortSurvivesBadHub gives a port what no hub sends: it must end with one clear error.
func TestPortSurvivesBadHub(t *testing.T) {
	welcome := "TTVC\x01\x00" + strings.Repeat("\x00", 8)
	tests := []struct{ name, send, want string }{
		{"hub gone", "", "EOF"},
		{"message cut off", "\x20\x00\x00\x00\x01", "unexpected EOF"},
		{"huge message", "\xFF\xFF\xFF\xFF", "4294967295 bytes"},
		{"unknown kind", "\x01\x00\x00\x00\x09", "unknown kind"},
		{"failure", "\x06\x00\x00\x00\x02hello", "virtual bus can0: the hub refuses: hello"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				io.ReadFull(conn, make([]byte, 15))
				io.WriteString(conn, welcome+c.send)
				conn.Close()
			}()
			bus := dial(t, "virtual://"+l.Addr().String()+"/can0")
			if n, err := bus.Receive(t.Context(), make([]can.Frame, 10)); n != 0 || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %d, %v, want %q", n, err, c.want)
			}
			<-served
		})
	}
}

// BenchmarkBus moves frames from the hub to one reader; the CPU time is that of both ends.
// 4 frames a batch is a busy bus (4,000 frames/s) fed every ms.
func BenchmarkBus(b *testing.B) {
	for _, size := range []int{4, 100} {
		b.Run(fmt.Sprintf("batches of %d", size), func(b *testing.B) {
			hub := start(b, socket(b), virtual.Config{Buses: []string{"can0"}})
			bus := dial(b, hub.URL("can0"))
			batch, buf := canbustest.Numbered(0, size), make([]can.Frame, 256)
			before := cpuTime()
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				hub.Bus("can0").Send(batch)
				for got := 0; got < size; {
					n, err := bus.Receive(b.Context(), buf)
					if err != nil {
						b.Fatal(err)
					}
					got += n
				}
				total += size
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(cpuTime()-before)/float64(total), "cpu-ns/frame")
		})
	}
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
