package slots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/firmware"
)

// Owner lets a process without rights use the slots, through a socket, and holds it to rules. Whatever that process asks for,
// what is started afterwards is signed, for this board, and not older than the firmware that was confirmed last, unless the boot
// loader itself has to start an older one because it cannot read that:
//
//   - Install: the update file is held against Policy while its image is written, by the code that the agent uses, too;
//     the release that was confirmed last counts beside the one that runs.
//   - Confirm: the slot that runs must be on trial, or the confirmed one already, or its release not older than what was ever confirmed.
//   - Prefer: the slot must be the confirmed one.
//   - Rollback: the slot that runs must be on trial, or the other one confirmed, as it is when it is asked for again.
//
// When the boot state is lost the confirmed slot is the one that Note remembers; without a note it is any.
// With Policy.AllowDowngrade older releases are taken, and nobody is held to the last three. The methods are called by Serve.
type Owner struct {
	Slots Slots
	// Policy is what is accepted; its Release is that of the firmware that runs.
	Policy firmware.Policy
	// Note is a file in a folder that only the owner can write: which firmware was confirmed last.
	Note string
	// Say is told, in the form of fmt.Printf, what was refused and what could not be noted.
	Say func(format string, args ...any)

	changing sync.Mutex // held from the look at the status to the end of the change, so that nothing comes between
	open     func(r io.Reader) (image io.Reader, size int64, err error)

	saying sync.Mutex // guards all below
	said   time.Time
	unsaid int // complaints since
}

// ErrRefused says that the owner of the slots does not allow a change to who asks for it.
var ErrRefused = errors.New("not allowed by the owner of the slots")

// Bounds of who uses the socket. There is one such process on a machine, and it alone waits when they are reached.
const (
	maxConnections = 8                // at once; more wait until they are accepted
	patience       = 30 * time.Second // for each request and each chunk of an update file
	acceptPause    = time.Second      // after an accept that went wrong
	complainEvery  = 10 * time.Second // at most one line so often about what was refused
)

// Serve answers what comes through the listener until it is closed, and owns it. ctx ends installs that are under way.
func (o *Owner) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	defer l.Close()
	if err := o.begin(); err != nil {
		o.Say("firmware slots: %v", err)
	}
	free := make(chan struct{}, maxConnections)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // as when memory or descriptors are short: a firmware on trial must be heard when they are there again
			o.complain("accept", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			defer conn.Close()
			o.talk(ctx, conn)
		})
	}
}

// talk answers one request.
func (o *Owner) talk(ctx context.Context, conn net.Conn) {
	patient := &patientReader{conn}
	var q request
	a := answer{Version: wireVersion}
	err := readMessage(patient, &q)
	if err == nil && q.Version != wireVersion {
		err = fmt.Errorf("version %d; expected %d", q.Version, wireVersion)
	}
	if err == nil {
		err = o.do(ctx, patient, &q, &a)
	}
	if err != nil {
		if errors.Is(err, ErrRefused) || q.Action == askInstall {
			o.complain(string(q.Action), err)
		}
		a.fail(err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	_ = writeMessage(conn, a) // who asked may be gone
}

// complain says what went wrong, now and then: whoever asks again and again must not hide what others say.
func (o *Owner) complain(what string, err error) {
	o.saying.Lock()
	defer o.saying.Unlock()
	if !o.said.IsZero() && time.Since(o.said) < complainEvery {
		o.unsaid++
		return
	}
	before := ""
	if o.unsaid > 0 {
		before = fmt.Sprintf(" (and %d times before, unsaid)", o.unsaid)
	}
	o.said, o.unsaid = time.Now(), 0
	o.Say("firmware slots: %s: %v%s", what, bare(err), before)
}

func (o *Owner) do(ctx context.Context, r io.Reader, q *request, a *answer) error {
	switch q.Action {
	case askStatus:
		st, err := o.Slots.Status()
		a.Status = &st
		return err
	case askInstall:
		return o.install(ctx, r)
	case askConfirm:
		return o.change(func(st Status, confirmed Slot) bool {
			return st.Trial || confirmed == "" || confirmed == st.Booted || o.newEnough()
		}, o.confirm)
	case askPrefer:
		return o.change(func(_ Status, confirmed Slot) bool { return confirmed == "" || confirmed == q.Slot }, func() error { return o.Slots.Prefer(q.Slot) })
	case askRollback:
		return o.change(func(st Status, confirmed Slot) bool { return st.Trial || confirmed == st.Booted.Other() }, o.Slots.Rollback)
	}
	return fmt.Errorf("action %.32q; expected status, install, confirm, prefer or rollback", q.Action)
}

// newEnough says whether what runs is known not to be older than what was ever confirmed.
func (o *Owner) newEnough() bool {
	return o.Policy.Release > 0 && o.Policy.Release >= o.remembered().Release
}

// change makes a change when allowed says so of the status and of the slot that is confirmed, "" when nobody knows.
func (o *Owner) change(allowed func(st Status, confirmed Slot) bool, how func() error) error {
	o.changing.Lock()
	defer o.changing.Unlock()
	if o.Policy.AllowDowngrade {
		return how()
	}
	st, err := o.Slots.Status()
	if err != nil {
		return err
	}
	confirmed := st.Confirmed()
	if st.Problem != "" {
		confirmed = o.remembered().Slot
	}
	if !allowed(st, confirmed) {
		return ErrRefused
	}
	return how()
}

// confirm notes what it confirms. When the note cannot be written it is at the next start.
func (o *Owner) confirm() error {
	if err := o.Slots.Confirm(); err != nil {
		return err
	}
	if err := o.remember(); err != nil {
		o.Say("firmware slots: %v", err)
	}
	return nil
}

// install writes an update file's image, which is judged while it is read. The end of the connection ends it.
func (o *Owner) install(ctx context.Context, r io.Reader) error {
	policy := o.Policy
	policy.Release = max(policy.Release, o.remembered().Release)
	file := &chunks{from: r}
	image, size, err := o.judge(file, policy)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return o.Slots.Install(ctx, &watched{image, func() { go goneEnds(r, cancel) }}, size)
}

// judge reads the header of an update file and gives its image.
func (o *Owner) judge(file io.Reader, policy firmware.Policy) (image io.Reader, size int64, err error) {
	if o.open != nil {
		return o.open(file)
	}
	u, err := firmware.Open(file, policy)
	if err != nil {
		return nil, 0, err
	}
	return u.Payload(), u.Header.Manifest.Size, nil
}

// goneEnds waits for the other side's end: nothing comes behind an update file. It ends with the connection.
func goneEnds(r io.Reader, end func()) {
	p := r.(*patientReader)
	_ = p.conn.SetReadDeadline(time.Time{})
	_, _ = p.conn.Read(make([]byte, 1))
	end()
}

// watched calls whole, once, when the image has been read to its end.
type watched struct {
	io.Reader
	whole func()
}

// Read implements io.Reader.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if errors.Is(err, io.EOF) && w.whole != nil {
		w.whole()
		w.whole = nil
	}
	return n, err
}

// patientReader gives each read a time of its own.
type patientReader struct{ conn net.Conn }

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}

// note is what was confirmed last.
type note struct {
	Layout  int    `cbor:"v,required"`
	Slot    Slot   `cbor:"slot,required"`
	Release uint64 `cbor:"release,required"` // the newest that was ever confirmed
}

const (
	noteLayout = 1
	maxNote    = 1 << 10 // bytes
)

// begin notes the firmware that runs when it is the confirmed one.
func (o *Owner) begin() error {
	o.changing.Lock()
	defer o.changing.Unlock()
	st, err := o.Slots.Status()
	if err != nil || st.Trial || st.Booted == "" || st.Confirmed() != st.Booted {
		return err
	}
	return o.remember()
}

// remember notes that the slot that runs is the confirmed one. Where older releases are not taken the noted one never falls: a former
// firmware that runs in place of the confirmed one, because that cannot be read, must not be the way to older ones.
func (o *Owner) remember() error {
	st, err := o.Slots.Status()
	if err != nil {
		return err
	}
	before := o.remembered()
	n := note{Layout: noteLayout, Slot: st.Booted, Release: o.Policy.Release}
	if !o.Policy.AllowDowngrade {
		n.Release = max(n.Release, before.Release)
	}
	if n == before {
		return nil
	}
	data, err := document.Marshal(n)
	if err == nil {
		err = durable.Replace(o.Note, data)
	}
	if err != nil {
		return fmt.Errorf("note of the confirmed firmware: %w", durable.Bare(err))
	}
	return nil
}

// remembered gives the note; the zero note when there is none, or when it is damaged, which is said: the device must go on
// taking updates, and the release that runs still counts.
func (o *Owner) remembered() (n note) {
	data, _, err := durable.ReadRegular(o.Note, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}
	}
	if err == nil {
		err = document.Unmarshal(data, &n)
	}
	if err == nil && (n.Layout != noteLayout || n.Slot.Other() == "") {
		err = fmt.Errorf("version %d and slot %.16q", n.Layout, n.Slot)
	}
	if err != nil {
		o.Say("firmware slots: note of the confirmed firmware is not used: %v", durable.Bare(err))
		return note{}
	}
	return n
}
