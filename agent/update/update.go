package update

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/reasons"
	"telltale.dev/protocol/topics"
	"telltale.dev/protocol/updates"

	"telltale.dev/protocol/signed"
)

// ErrRestart is what Run returns when the machine has to be restarted.
var ErrRestart = errors.New("the machine is to be restarted for the firmware update")

// Outbox takes feedback; it is on disk when Put returns.
type Outbox interface {
	Put(t topics.Topic, content any) error
}

// Config of an Updater. All but Slots, Keys and Timing must be set.
type Config struct {
	Dir    string // for the journal and the file under way
	Device protocol.DeviceID
	// Slots; nil: a device without, which refuses documents.
	Slots slots.Slots
	// Running is the firmware that runs; its slot is asked for.
	Running updates.Running
	// Keys are whose updates are trusted; none: nobody's.
	Keys signed.Keys
	// Endpoints are host:port of download servers, tried in turn, over TLS.
	Endpoints []string
	TLS       *tls.Config // it is cloned
	Outbox    Outbox
	// Healthy says why the agent cannot do its work, nil when it can.
	Healthy func() error
	// Connected says whether the cloud is reached.
	Connected func() bool
	// MaxBytes bounds what is kept in Dir; zero means 1 GiB.
	MaxBytes int64
	Timing   Timing
	Log      *slog.Logger
}

// Timing are waits; zero means the defaults.
type Timing struct {
	Health     time.Duration // how long a firmware on trial has, unless the document says otherwise; 5 min
	Settle     time.Duration // how long it must be healthy and connected without a break; 5 s
	Retry      time.Duration // between tries of what the disk refused; 5 s
	Idle       time.Duration // a download that gets nothing for so long is begun anew; 30 s
	Progress   time.Duration // between two words on a download; 5 s
	BackoffMin time.Duration // between tries of a download; 1 s
	BackoffMax time.Duration // 5 min
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Health, 5*time.Minute)
	set(&t.Settle, 5*time.Second)
	set(&t.Retry, 5*time.Second)
	set(&t.Idle, 30*time.Second)
	set(&t.Progress, 5*time.Second)
	set(&t.BackoffMin, time.Second)
	set(&t.BackoffMax, max(5*time.Minute, t.BackoffMin))
	return t
}

const defaultMaxBytes = 1 << 30

// Updater is the one that works on updates. Take may be called from any
// goroutine; all else is owned by Run.
type Updater struct {
	cfg    Config
	client *http.Client

	mu        sync.Mutex // guards the three below
	newest    *arrival
	current   updates.ID // of the journal
	interrupt func()     // ends a download; nil while there is none
	arrived   chan struct{}

	j         journal
	confirmed confirmed
	write     func(path string, data []byte) error
	told      bool      // a feedback is in the buffer since the start
	untold    bool      // the newest is not
	exact     bool      // the part is on disk up to its last byte, as far as this process knows
	counted   bool      // this start, in the journal
	again     bool      // a damaged download was begun anew
	refusals  int       // of the cloud, in a row
	repeated  time.Time // when repeat said something about this update; zero: never
}

// Open reads the journal. A damaged one is set aside: then what runs decides alone.
func Open(cfg Config) (*Updater, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil && !durable.LacksRoom(err) { // then it comes with the first journal
		return nil, fmt.Errorf("update folder: %w", durable.Plain(err))
	}
	cfg.Timing = cfg.Timing.withDefaults()
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("update: expected a download endpoint")
	}
	u := &Updater{cfg: cfg, arrived: make(chan struct{}, 1), client: newClient(cfg), write: write}
	var err error
	u.j, err = loadJournal(cfg.Dir)
	if errors.Is(err, errDamaged) {
		cfg.Log.Error("update journal is unusable and set aside", "error", err)
		u.j, err = journal{}, setAside(cfg.Dir)
	}
	u.current = u.j.Document.ID
	if err != nil {
		return u, err
	}
	if u.confirmed, err = loadConfirmed(cfg.Dir); err != nil {
		cfg.Log.Error("note of the confirmed firmware is unusable", "error", err)
	}
	return u, nil
}

// arrival is a document that waits to be looked at.
type arrival struct {
	document *updates.Update
	decided  chan struct{} // closed when the journal has what is to be done about it
}

// Take looks into a document from down/config/update, and returns when the journal says what is done about it, or
// when ctx ends. A document that comes while a slot is being written has to wait for the end of that.
func (u *Updater) Take(ctx context.Context, payload []byte) {
	a := u.accept(payload)
	if a == nil {
		return
	}
	select {
	case <-a.decided:
	case <-ctx.Done():
	}
}

// parse gives a document that is never nil.
func parse(payload []byte) (*updates.Update, error) {
	doc := new(updates.Update)
	if err := document.UnmarshalOpen(payload, doc); err != nil {
		return doc, err
	}
	return doc, doc.Validate()
}

// Revision gives a function that says of which revision an update document for a device is, and whether it can be used,
// before it was looked at. One that cannot be read or is of another device cannot.
func Revision(device protocol.DeviceID) func(payload []byte) (revision uint64, usable bool) {
	return func(payload []byte) (revision uint64, usable bool) {
		doc, err := parse(payload)
		return doc.Revision, err == nil && doc.Device == device
	}
}

// accept queues a document for Run, in place of an older one; nil when there is nothing to do about it.
func (u *Updater) accept(payload []byte) *arrival {
	doc, err := parse(payload)
	switch {
	case err != nil:
		u.cfg.Log.Error("update document is unusable", "error", err)
		return nil
	case doc.Device != u.cfg.Device:
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.newest != nil && u.newest.document.Revision > doc.Revision ||
		doc.ID == u.current && !doc.Cancel && (u.newest == nil || u.newest.document.ID == doc.ID) {
		return nil // the same again, as after each connect
	}
	u.newest = &arrival{document: doc, decided: make(chan struct{})}
	if u.interrupt != nil {
		u.interrupt()
	}
	select {
	case u.arrived <- struct{}{}:
	default:
	}
	return u.newest
}

// Run works until ctx ends, or gives ErrRestart when the machine has to be restarted.
func (u *Updater) Run(ctx context.Context) error {
	defer u.client.CloseIdleConnections()
	for {
		err := u.settle(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || errors.Is(err, ErrRestart) {
			return ended(ctx, err)
		}
		u.cfg.Log.Error("update has to wait", "state", u.j.State, "error", err)
		u.pause(ctx, u.cfg.Timing.Retry)
	}
	for {
		err := u.adopt()
		if err == nil && u.j.active() {
			err = u.step(ctx)
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrRestart):
			return ended(ctx, err)
		case errors.Is(err, errInterrupted):
		case err != nil:
			u.cfg.Log.Error("update has to wait", "state", u.j.State, "error", err)
			u.pause(ctx, u.cfg.Timing.Retry)
		case !u.j.active() && !u.waiting():
			u.idle(ctx)
		}
		if u.untold {
			u.tell()
		}
	}
}

// ended is what Run returns: an end of ctx is no error.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ErrRestart) {
		return ErrRestart
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// idle waits for a document, and not for ever when a feedback could not be stored.
func (u *Updater) idle(ctx context.Context) {
	var retry <-chan time.Time
	if u.untold {
		retry = time.After(u.cfg.Timing.Retry)
	}
	select {
	case <-ctx.Done():
	case <-u.arrived:
	case <-retry:
	}
}

func (u *Updater) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// waiting says whether a document waits that is not adopted yet.
func (u *Updater) waiting() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.newest != nil
}

func (u *Updater) take() *arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.newest
	u.newest = nil
	return a
}

// putBack keeps a document for later, unless a newer one has arrived.
func (u *Updater) putBack(a *arrival) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.newest == nil {
		u.newest = a
	}
}

// adopt looks at the newest document. After an error, or while a slot is under way, it will be looked at again.
func (u *Updater) adopt() error {
	a := u.take()
	if a == nil {
		return nil
	}
	later, err := u.decide(a.document)
	if err != nil || later {
		u.putBack(a)
	} else {
		close(a.decided)
	}
	return err
}

// decide begins or ends what a document asks for; later says that it has to wait.
func (u *Updater) decide(doc *updates.Update) (later bool, err error) {
	j := &u.j
	same := doc.ID == j.Document.ID
	cancelable := j.State.Next(updates.Canceled)
	switch {
	case doc.Revision < j.Document.Revision:
		u.cfg.Log.Warn("update document is older than the one in force", "revision", doc.Revision)
		return false, nil
	case same && !doc.Cancel && j.State == updates.Pending: // it is in no journal yet: writing it has failed
		return false, u.move(func(j *journal) { j.State = updates.Delivered })
	case same && !doc.Cancel:
		return false, nil
	case same && cancelable:
		return false, u.end(updates.Canceled, reasons.CanceledByRequest, "")
	case same: // too late: how it stands is said once more
		return false, u.repeat()
	case j.active() && !cancelable:
		return true, nil // a slot is under way; this one comes afterwards
	case j.active():
		if err := u.end(updates.Canceled, reasons.Superseded, ""); err != nil {
			return false, err
		}
	}
	u.again, u.exact, u.refusals, u.repeated = false, false, 0, time.Time{}
	u.j = journal{Version: journalVersion, Document: *doc, State: updates.Pending, Sequence: doc.After}
	if doc.Cancel {
		return false, u.end(updates.Canceled, reasons.CanceledByRequest, "nothing had begun")
	}
	return false, u.move(func(j *journal) { j.State = updates.Delivered })
}

// repeatEvery is how often at most it is said once more how an update stands: each time costs a write of the journal
// and a record in the buffer, and a cloud, or who poses as one, may ask without end. A change is told at once.
const repeatEvery = time.Minute

// repeat says once more how the update stands, unless it was said so a short while ago.
func (u *Updater) repeat() error {
	if !u.repeated.IsZero() && time.Since(u.repeated) < repeatEvery {
		return nil
	}
	err := u.move(func(*journal) {})
	if err == nil {
		u.repeated = time.Now()
	}
	return err
}

// step does what comes next in the state that the journal has.
func (u *Updater) step(ctx context.Context) error {
	switch u.j.State {
	case updates.Pending: // its first word was not stored
		return u.move(func(j *journal) { j.State = updates.Delivered })
	case updates.Delivered:
		return u.prepare()
	case updates.Downloading:
		return u.download(ctx)
	case updates.Verified:
		return u.begin()
	case updates.Installing:
		return u.install(ctx)
	}
	return u.settle(ctx)
}

// prepare finds out what stands against the update before a byte of it is fetched.
func (u *Updater) prepare() error {
	if u.cfg.Slots == nil {
		return u.fail(reasons.NotSupported, errors.New("this device has no firmware slots"))
	}
	st, err := u.cfg.Slots.Status()
	switch {
	case err != nil:
		return err
	case st.Booted == "":
		return u.fail(reasons.NotSupported, slots.ErrBooted)
	case st.Trial:
		return u.fail(reasons.OnTrial, slots.ErrTrial)
	}
	if err := u.makeRoom(); err != nil {
		return u.fail(reasons.NoSpace, err)
	}
	return u.move(func(j *journal) { j.State = updates.Downloading })
}

// fail ends the update; the firmware that runs stays.
func (u *Updater) fail(reason reasons.Reason, err error) error {
	u.cfg.Log.Error("update failed", "reason", reason, "error", err)
	return u.end(updates.Failed, reason, err.Error())
}

// end is the last word on the update.
func (u *Updater) end(state updates.State, reason reasons.Reason, detail string) error {
	err := u.move(func(j *journal) { j.State, j.Reason, j.Detail = state, reason, shorten(detail) })
	if err == nil {
		u.cleanUp("")
	}
	return err
}
