package gate_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/cloud/gate"
)

// door is a listener in memory: come makes somebody arrive.
type door struct {
	arrivals chan any // net.Conn or error
	closing  sync.Once
}

func newDoor() *door { return &door{arrivals: make(chan any, 64)} }

func (d *door) Accept() (net.Conn, error) {
	switch a := (<-d.arrivals).(type) {
	case net.Conn:
		return a, nil
	case error:
		return nil, a
	}
	return nil, net.ErrClosed
}

func (d *door) Close() error   { d.closing.Do(func() { close(d.arrivals) }); return nil }
func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

// from is one end of a pipe that says where it comes from.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.address), 4000))
}

// come makes somebody arrive and gives his end; a gate that lets him in gives the other.
func (d *door) come(t *testing.T, address string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	d.arrivals <- from{far, address}
	return near
}

// entered gives what the gate lets in next.
func entered(t *testing.T, l *gate.Listener) *gate.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*gate.Conn)
}

// open says whether the other end is still open; it waits for nothing but what is due.
func open(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe)
}

func expect(t *testing.T, what string, conn net.Conn, want bool) {
	t.Helper()
	if got := open(conn); got != want {
		t.Errorf("%s: got open %v, want %v", what, got, want)
	}
}

// TestOldestSilentGivesWay: a newcomer finds a place behind an address that holds all of its own, and when
// several addresses hold all there are.
func TestOldestSilentGivesWay(t *testing.T) {
	for name, test := range map[string]struct {
		cfg       gate.Config
		strangers []string
		newcomer  string
	}{
		"same address":        {gate.Config{PerAddress: 2}, []string{"192.0.2.1", "192.0.2.1"}, "192.0.2.1"},
		"IPv4 as IPv6":        {gate.Config{PerAddress: 2}, []string{"192.0.2.1", "::ffff:192.0.2.1"}, "192.0.2.1"},
		"same /64":            {gate.Config{PerAddress: 2}, []string{"2001:db8::1", "2001:db8::ffff:2"}, "2001:db8::3"},
		"all strangers":       {gate.Config{Strangers: 2}, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.3"},
		"all places":          {gate.Config{Places: 2}, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.3"},
		"all of two networks": {gate.Config{Strangers: 2, PerAddress: 2}, []string{"2001:db8:0:1::1", "2001:db8:0:2::1"}, "2001:db8:0:3::1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				l := gate.New(d, test.cfg)
				first := d.come(t, test.strangers[0])
				entered(t, l)
				second := d.come(t, test.strangers[1])
				entered(t, l).Greeted()
				newcomer := d.come(t, test.newcomer)
				entered(t, l)
				expect(t, "the oldest silent one", first, false)
				expect(t, "one in its handshake", second, true)
				expect(t, "the newcomer", newcomer, true)
				if got := l.Stats(); got.Shed != 1 || got.Strangers != 2 || got.Open != 2 || got.Refused != 0 {
					t.Errorf("got %+v, want 1 shed, 2 strangers, 2 open", got)
				}
			})
		})
	}
}

// TestOtherNetworksAreApart: the bound of one address is not that of its neighbours.
func TestOtherNetworksAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{PerAddress: 1})
		var all []net.Conn
		for _, address := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1", "fe80::1%eth0"} {
			all = append(all, d.come(t, address))
			entered(t, l)
		}
		for _, conn := range all {
			expect(t, "each", conn, true)
		}
	})
}

// TestHandshakesGoOn: who has just sent its ClientHello does not give way, and does after the grace.
func TestHandshakesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{Strangers: 1})
		first := d.come(t, "192.0.2.1")
		entered(t, l).Greeted()
		refused := d.come(t, "192.0.2.2") // closed before Accept gives the one after it
		go func() { time.Sleep(time.Second); d.come(t, "192.0.2.3") }()
		entered(t, l)
		expect(t, "the newcomer at once", refused, false)
		expect(t, "a handshake that stands still", first, false)
		if got := l.Stats(); got.Refused != 1 || got.Shed != 1 {
			t.Errorf("got %+v, want 1 refused and 1 shed", got)
		}
	})
}

// TestKnownStay: who is known holds its place against any number of strangers; idle ones give way last.
func TestKnownStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{Places: 3, Hello: time.Second, Patience: 2 * time.Second})
		working, resting := d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1")
		entered(t, l).Known("a")
		rests := entered(t, l)
		rests.Known("b")
		rests.Idle()
		for range 5 {
			d.come(t, "192.0.2.9")
			entered(t, l)
		}
		expect(t, "idle while there are strangers", resting, true)
		time.Sleep(time.Minute)
		expect(t, "known after its time as a stranger", working, true)
		d.come(t, "192.0.2.1")
		entered(t, l).Known("c")
		d.come(t, "192.0.2.1")
		entered(t, l).Known("d")
		expect(t, "idle when all others work", resting, false)
		refused := d.come(t, "192.0.2.1")
		go d.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed listener: got %v", err)
		}
		expect(t, "working", working, true)
		expect(t, "newcomer when all work", refused, false)
	})
}

// TestTimesOfStrangers: the first message has a short time, the rest a longer one.
func TestTimesOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{Hello: 3 * time.Second, Patience: 10 * time.Second})
		mute, halting, quick := d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1")
		entered(t, l)
		entered(t, l).Greeted()
		entered(t, l).Known("a")
		time.Sleep(2900 * time.Millisecond)
		expect(t, "mute before its time", mute, true)
		time.Sleep(200 * time.Millisecond)
		expect(t, "mute after it", mute, false)
		time.Sleep(6800 * time.Millisecond)
		expect(t, "greeted before its time", halting, true)
		time.Sleep(200 * time.Millisecond)
		expect(t, "greeted after it", halting, false)
		time.Sleep(time.Minute)
		expect(t, "known", quick, true)
		if got := l.Stats(); got.Slow != 2 || got.Open != 1 || got.Strangers != 0 {
			t.Errorf("got %+v, want 2 slow and 1 open", got)
		}
	})
}

// TestHolderEndsItsOwn: a holder with too many connections loses its oldest, nobody else one.
func TestHolderEndsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{PerHolder: 1})
		first, other, second := d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1")
		entered(t, l).Known("a")
		entered(t, l).Known("b")
		c := entered(t, l)
		c.Known("a")
		c.Known("a") // its next request
		expect(t, "the holder's oldest", first, false)
		expect(t, "another holder's", other, true)
		expect(t, "the holder's newest", second, true)
		c.Close()
		c.Close()
		if got := l.Stats(); got.Open != 1 {
			t.Errorf("got %+v, want 1 open", got)
		}
	})
}

// TestPassingErrors: no file descriptor is no reason to stop accepting; strangers give some free, and a
// closed listener is not waited for.
func TestPassingErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		l := gate.New(d, gate.Config{})
		strangers := []net.Conn{d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1"), d.come(t, "192.0.2.1")}
		for range strangers {
			entered(t, l)
		}
		for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENFILE, syscall.ENOBUFS} {
			d.arrivals <- &net.OpError{Op: "accept", Err: errno}
		}
		newcomer := d.come(t, "192.0.2.1")
		entered(t, l)
		for i, want := range []bool{false, false, true} {
			expect(t, "stranger", strangers[i], want)
		}
		expect(t, "newcomer", newcomer, true)
		if got := l.Stats(); got.AcceptErrors != 4 {
			t.Errorf("got %+v, want 4 errors", got)
		}
		d.arrivals <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		l.Close()
		if _, err := l.Accept(); err == nil {
			t.Error("Accept of a closed listener: got no error")
		}
	})
}

// TestHelloOfTLS: the configuration tells the gate of a whole ClientHello, not of a part of it.
func TestHelloOfTLS(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	l := gate.New(inner, gate.Config{Strangers: 1})
	config := gate.TLS(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }})
	partial, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer partial.Close()
	served := make(chan error, 2)
	serve := func() {
		conn := entered(t, l)
		go func() { served <- tls.Server(conn, config).Handshake() }()
	}
	serve()
	if _, err := partial.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1}); err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := net.Dial("tcp", inner.Addr().String()); err == nil {
			_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
			conn.Close()
		}
	}()
	serve()
	<-served
	<-served
	if got := l.Stats(); got.Shed != 1 {
		t.Errorf("got %+v, want the one with a part of its ClientHello shed", got)
	}
}
