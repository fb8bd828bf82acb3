package drive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/simulator/drive"
)

// hub runs a hub until the test ends.
func hub(t testing.TB, cfg virtual.Config) *virtual.Hub {
	t.Helper()
	h, err := virtual.Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- h.Run(context.Background()) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return h
}

func scan(t testing.TB, path string) *drive.Log {
	t.Helper()
	l, err := drive.Scan(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func player(t testing.TB, cfg drive.PlayerConfig) *drive.Player {
	t.Helper()
	p, err := drive.NewPlayer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// collect reads a bus to its end.
func collect(t testing.TB, h *virtual.Hub, bus string) (result func() []can.Frame) {
	t.Helper()
	port, err := virtual.Dial(t.Context(), h.URL(bus))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan []can.Frame, 1)
	go func() {
		var all []can.Frame
		buf := make([]can.Frame, 256)
		for {
			n, err := port.Receive(context.Background(), buf)
			all = append(all, buf[:n]...)
			if err != nil {
				if s := port.Stats(); s != (canbus.Stats{Received: uint64(len(all))}) {
					t.Errorf("%s: got %+v for %d frames", bus, s, len(all))
				}
				port.Close()
				done <- all
				return
			}
		}
	}()
	return func() []can.Frame { return <-done }
}

// TestPlayRecording plays the RAV4 log 60 times as fast and compares what readers get with the log.
func TestPlayRecording(t *testing.T) {
	l := scan(t, recordings+"rav4.log.zst")
	h := hub(t, virtual.Config{Buses: l.Names()})
	results := map[string]func() []can.Frame{}
	for _, bus := range l.Names() {
		results[bus] = collect(t, h, bus)
	}
	var calls atomic.Int64
	last := drive.Progress{}
	p := player(t, drive.PlayerConfig{Log: l, Hub: h, Speed: 60, Progress: func(g drive.Progress) {
		calls.Add(1)
		if g.Fraction < last.Fraction || g.Frames < last.Frames {
			t.Errorf("progress went back from %+v to %+v", last, g)
		}
		last = g
	}})
	start := time.Now()
	half := make(chan drive.Progress, 1)
	go func() {
		p.Wait(context.Background(), 0.5)
		half <- p.Progress()
	}()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 950*time.Millisecond || took > 10*time.Second {
		t.Errorf("60 s at speed 60 took %v", took)
	}
	if g := <-half; g.Fraction < 0.5 || g.Done {
		t.Errorf("half of the drive was noticed at %+v", g)
	}
	if last != (drive.Progress{Fraction: 1, Time: l.Last, Frames: 98_800, Done: true}) || calls.Load() < 10 {
		t.Errorf("got %+v after %d calls", last, calls.Load())
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	r, err := drive.Open(recordings + "rav4.log.zst")
	if err != nil {
		t.Fatal(err)
	}
	log, err := readAll(t, r)
	if err != nil {
		t.Fatal(err)
	}
	for i, bus := range l.Names() {
		got, n := results[bus](), 0
		for k := range log {
			if log[k].Bus == bus {
				if n < len(got) && got[n] != log[k].Frame {
					t.Fatalf("%s frame %d: got %+v, want %+v", bus, n, got[n], log[k].Frame)
				}
				n++
			}
		}
		if n != len(got) || p.Sent()[i] != (drive.BusFrames{Bus: bus, Frames: uint64(n)}) {
			t.Errorf("%s: got %d frames, sent %+v, want %d", bus, len(got), p.Sent()[i], n)
		}
	}
}

// small writes a log of four frames within 30 ms.
func small(t testing.TB) *drive.Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.log")
	text := "(5.000) can0 001#\n(5.010) can0 002#\n(5.020) can1 003#\n(5.030) can0 004#\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return scan(t, path)
}

func TestLoopTimesRise(t *testing.T) {
	l := small(t)
	h := hub(t, virtual.Config{Buses: l.Names()})
	result := collect(t, h, "can0")
	start := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	p := player(t, drive.PlayerConfig{Log: l, Hub: h, Speed: 10, Loop: true, Start: start})
	ran := make(chan error, 1)
	go func() { ran <- p.Run(t.Context()) }()
	if err := p.Wait(t.Context(), 4.5); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	got := result()
	if len(got) < 10 || got[0].Time != start.UnixMicro() || got[3].Time != start.UnixMicro()+37_500 {
		t.Fatalf("got %d frames; %d µs, %d µs after the start", len(got), got[0].Time-start.UnixMicro(), got[3].Time-start.UnixMicro())
	}
	for i := 1; i < len(got); i++ {
		if got[i].Time <= got[i-1].Time {
			t.Errorf("frame %d: time %d after %d", i, got[i].Time, got[i-1].Time)
		}
	}
}

func TestPause(t *testing.T) {
	l := small(t)
	h := hub(t, virtual.Config{})
	p := player(t, drive.PlayerConfig{Log: l, Hub: h, Speed: 1})
	p.Pause()
	p.Pause()
	ran := make(chan error, 1)
	go func() { ran <- p.Run(t.Context()) }()
	time.Sleep(60 * time.Millisecond)
	if g := p.Progress(); g.Frames > 1 {
		t.Errorf("paused, but got %+v", g)
	}
	p.Resume()
	p.Resume()
	start := time.Now()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 25*time.Millisecond || took > 5*time.Second {
		t.Errorf("the drive of 30 ms took %v after the pause", took)
	}
}

func TestPlayerEnds(t *testing.T) {
	l := small(t)
	for name, c := range map[string]struct {
		end  func(*drive.Player, context.CancelFunc)
		want error
	}{
		"context": {func(_ *drive.Player, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"stop":    {func(p *drive.Player, _ context.CancelFunc) { p.Stop(); p.Stop() }, nil},
	} {
		for _, paused := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			p := player(t, drive.PlayerConfig{Log: l, Hub: hub(t, virtual.Config{}), Speed: 0.001})
			if paused {
				p.Pause()
			}
			ran := make(chan error, 1)
			go func() { ran <- p.Run(ctx) }()
			time.Sleep(10 * time.Millisecond)
			c.end(p, cancel)
			if err := <-ran; !errors.Is(err, c.want) {
				t.Errorf("%s, paused %v: got %v, want %v", name, paused, err, c.want)
			}
			cancel()
		}
	}
}

func TestAsFastAsPossible(t *testing.T) {
	l := scan(t, recordings+"canmod1.log.zst")
	h := hub(t, virtual.Config{})
	p := player(t, drive.PlayerConfig{Log: l, Hub: h})
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.Bus("can1").Frames() + h.Bus("can2").Frames(); n != 292_097 {
		t.Errorf("got %d frames, want 292097", n)
	}
}

func TestPlayerConfig(t *testing.T) {
	l, h := small(t), hub(t, virtual.Config{})
	for name, cfg := range map[string]drive.PlayerConfig{"no log": {Hub: h}, "no hub": {Log: l}, "speed": {Log: l, Hub: h, Speed: -1}} {
		if _, err := drive.NewPlayer(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
