package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/hal/canbus/virtual"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/report"
)

// Interfaces says which buses are CAN interfaces of the kernel. given are
// INTERFACE, for the buses in their order, or BUS=INTERFACE; buses that are not
// named stay virtual.
func Interfaces(given []string, buses []string) (map[string]string, error) {
	chosen := map[string]string{}
	for i, arg := range given {
		bus, name, named := strings.Cut(arg, "=")
		if !named {
			if name = arg; i >= len(buses) {
				return nil, fmt.Errorf("--can %s: expected at most %d, since there are the buses %s", arg, len(buses), strings.Join(buses, ", "))
			}
			bus = buses[i]
		}
		if !slices.Contains(buses, bus) {
			return nil, fmt.Errorf("--can %s: expected one of the buses %s", arg, strings.Join(buses, ", "))
		}
		if chosen[bus] != "" {
			return nil, fmt.Errorf("--can %s: bus %s has the interface %s already", arg, bus, chosen[bus])
		}
		if _, err := socketcan.ParseURL(name); err != nil || strings.Contains(name, ":") {
			return nil, fmt.Errorf("--can %s: expected the name of a CAN interface, such as vcan0", arg)
		}
		for other, taken := range chosen {
			if taken == name {
				return nil, fmt.Errorf("--can %s: bus %s has this interface already", arg, other)
			}
		}
		chosen[bus] = name
	}
	return chosen, nil
}

// kernelBus is one bus of a vehicle that is an interface of the kernel: frames
// are sent into it, and a reader of its own sees what really was on it, with
// the same time stamps as every other reader of the interface.
type kernelBus struct {
	name, iface string
	out         canbus.Bus
	tap         canbus.Bus

	sent uint64 // frames, owned by send

	mu     sync.Mutex // guards all below
	frames uint64     // that our own reader has seen
	lost   uint64     // that it has not
	times  []int64    // of each frame, µs, when there is somebody who makes an account
	last   time.Time  // when the newest came, by our clock
	err    error
}

// openInterface attaches to an interface twice: as sender and as reader.
func openInterface(ctx context.Context, bus, iface string) (*kernelBus, error) {
	k := &kernelBus{name: bus, iface: iface, last: time.Now()}
	var err error
	if k.out, err = socketcan.Open(ctx, socketcan.Options{Interface: iface}); err != nil {
		return nil, fmt.Errorf("bus %s: %w; for a virtual one: sudo modprobe vcan can-raw; sudo ip link add %s type vcan; sudo ip link set %s up", bus, err, iface, iface)
	}
	if f, ok := canbus.As[canbus.Filterer](k.out); ok { // it only sends: it need not be woken
		err = f.SetFilters([]can.Filter{})
	}
	if err == nil {
		k.tap, err = socketcan.Open(ctx, socketcan.Options{Interface: iface, Buffer: tapBuffer})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bus %s: %w", bus, err), k.out.Close())
	}
	return k, nil
}

// tapBuffer is the receive buffer of our own reader, in bytes: it must lose nothing.
const tapBuffer = 16 << 20

const (
	// window is the most frames under way between us and our own reader. Without
	// CAP_NET_ADMIN its buffer holds some 550, however large it was asked for.
	window = 256
	// windowWait bounds the wait for frames that do not come back: a controller may give them up.
	windowWait = 3 * time.Second
)

// send puts frames on the bus, no faster than our own reader takes them. It is called by one goroutine at a time.
func (k *kernelBus) send(ctx context.Context, frames []can.Frame) error {
	for some := range slices.Chunk(frames, window/2) {
		seen, err := k.passed()
		for end := time.Now().Add(windowWait); err == nil && k.sent+uint64(len(some)) > seen+window; seen, err = k.passed() {
			if time.Now().After(end) {
				k.sent = seen
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			err = socketcan.InOrder(func() error { return k.out.(canbus.Sender).Send(ctx, some) })
		}
		if err != nil {
			return err
		}
		k.sent += uint64(len(some))
	}
	return nil
}

// passed gives the number of frames that have gone by our own reader, seen or not.
func (k *kernelBus) passed() (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frames + k.lost, k.err
}

// watch reads what is on the bus until ctx ends. With a tap every frame counts: a lost one is an error.
func (k *kernelBus) watch(ctx context.Context, tap func(bus string, first uint64, frames []can.Frame)) {
	frames := make([]can.Frame, 1024)
	for ctx.Err() == nil {
		n, err := k.tap.Receive(ctx, frames)
		k.mu.Lock()
		first := k.frames
		k.frames += uint64(n)
		if tap != nil {
			for i := range frames[:n] {
				k.times = append(k.times, frames[i].Time)
			}
		}
		k.last = time.Now()
		if k.lost = k.tap.Stats().Dropped; k.lost > 0 && tap != nil {
			err = fmt.Errorf("the simulator's own reader of %s lost %d frames, so the account cannot be made", k.iface, k.lost)
		}
		if err != nil && k.err == nil && ctx.Err() == nil {
			k.err = err
		}
		k.mu.Unlock()
		if tap != nil && n > 0 {
			tap(k.name, first, frames[:n])
		}
		if err != nil {
			return
		}
	}
}

// find gives the index of the first frame from index on that has this time; the number of frames when there is none.
func (k *kernelBus) find(from uint64, at int64) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	from = min(from, uint64(len(k.times)))
	if i := slices.Index(k.times[from:], at); i >= 0 {
		return from + uint64(i)
	}
	return k.frames
}

// state gives the number of frames so far and how long the bus has been silent.
func (k *kernelBus) state() (frames uint64, silent time.Duration, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frames, time.Since(k.last), k.err
}

func (k *kernelBus) close() error {
	return errors.Join(k.out.Close(), k.tap.Close())
}

// sendWait bounds how long an interface may refuse frames.
const sendWait = 10 * time.Second

// Send puts frames on one of the buses: of an interface the kernel gives them
// their times; on a virtual bus beside one they get the present one, so that all buses have one clock.
func (v *Vehicle) Send(bus string, frames []can.Frame) error {
	for _, k := range v.kernel {
		if k.name == bus {
			ctx, cancel := context.WithTimeout(context.Background(), sendWait)
			defer cancel()
			return k.send(ctx, frames)
		}
	}
	if len(v.kernel) > 0 {
		now := time.Now().UnixMicro()
		for i := range frames {
			frames[i].Time = now
		}
	}
	v.Hub.Bus(bus).Send(frames)
	return nil
}

// OnKernel says whether a bus of the vehicle is an interface of the kernel.
func (v *Vehicle) OnKernel() bool { return len(v.kernel) > 0 }

// Attachments tells of each start of the agent which stretch of each bus it was
// given. A virtual bus knows; of an interface it is found by the time of the
// first frame that the agent reported, and what it dropped is not known frame by frame.
func (d *Device) Attachments() []virtual.Attachment {
	list := d.Hub.Attachments()
	for _, k := range d.kernel {
		for _, s := range d.Starts() {
			b, ok := s.Buses[k.name]
			if !ok || b.First == 0 {
				continue
			}
			total, _, _ := k.state()
			list = append(list, virtual.Attachment{Bus: k.name, PID: s.PID, First: k.find(s.from[k.name], b.First), Next: total})
		}
	}
	return list
}

// NumbersOnly says why the account of interfaces cannot be made frame by frame; empty: it can. a is of the stopped
// agent: what it dropped behind its last commit does not matter.
func (d *Device) NumbersOnly(a report.Account) string {
	if buses := d.FilteredBuses(); len(buses) > 0 {
		return fmt.Sprintf("the kernel kept frames of %s away", strings.Join(buses, " and "))
	}
	dropped := uint64(0)
	for _, b := range a.Boots {
		if slices.ContainsFunc(d.Starts(), func(s Start) bool { return s.Boot == b.Boot }) {
			dropped += b.Dropped
		}
	}
	if dropped > 0 && d.OnKernel() {
		return fmt.Sprintf("%d frames were dropped, and the kernel does not say which", dropped)
	}
	return ""
}

// FilteredBuses are the buses of which the kernel kept frames away that no campaign wanted.
func (d *Device) FilteredBuses() (buses []string) {
	for _, k := range d.kernel {
		if slices.ContainsFunc(d.Starts(), func(s Start) bool { return s.narrowed[k.name] }) {
			buses = append(buses, k.name)
		}
	}
	return buses
}

// Drain waits until the agent has said that it received every frame on the buses, as far as that can be known, or until ctx ends.
func (d *Device) Drain(ctx context.Context) error {
	if err := d.Hub.Drain(ctx); err != nil {
		return err
	}
	open := func(k *kernelBus) bool { return !d.drained(k) }
	for d.Running() && (!d.received() || slices.ContainsFunc(d.kernel, open)) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reportEvery / 4):
		}
	}
	return nil
}

// received says whether the agent's last report has all frames that it was handed on virtual buses: they
// may still be in its socket. Of a bus that it had to attach to again this is not known.
func (d *Device) received() bool {
	starts, attachments := d.Starts(), d.Hub.Attachments()
	s := starts[len(starts)-1]
	for _, a := range attachments {
		again := func(o virtual.Attachment) bool { return o.PID == a.PID && o.Bus == a.Bus && o.Ended }
		if b := s.Buses[a.Bus]; a.PID == s.PID && b.Received+b.Dropped+a.Sent < a.Next-a.First && !slices.ContainsFunc(attachments, again) {
			return false
		}
	}
	return true
}

// drained says whether the agent's last report has all frames of an interface.
func (d *Device) drained(k *kernelBus) bool {
	total, silent, err := k.state()
	if err != nil {
		return true // Failure tells of it
	}
	if silent < 2*reportEvery {
		return false
	}
	starts := d.Starts()
	s := starts[len(starts)-1]
	b := s.Buses[k.name]
	return b.First == 0 || b.Dropped > 0 || s.narrowed[k.name] || b.Received+b.Dropped >= total-k.find(s.from[k.name], b.First)
}
