package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
	"telltale.dev/protocol/principal"
	"telltale.dev/protocol/topics"
)

// Errors for Handler.Connect to return (or wrap); each has its CONNACK reason code.
var (
	ErrNotRegistered = errors.New("not registered") // 0x87 not authorised
	ErrNotActive     = errors.New("not active")     // 0x87 not authorised
	ErrUnavailable   = errors.New("unavailable")    // 0x88 server unavailable; so is any other error
	ErrBusy          = errors.New("busy")           // 0x89 server busy
)

// Client is who holds a connection.
type Client struct {
	principal.Principal
	Connection uint64 // numbers the connections of this broker, rising from 1
}

// Publish is one message of a client, authorised and with its topic resolved.
type Publish struct {
	Client      Client
	Topic       topics.Topic
	Retain      bool
	QoS         byte   // 0 or 1
	Payload     []byte // owned by the Handler
	ContentType string
	Properties  map[string]string // user properties; of a repeated key the first
	User        []Property        // the same, as they were sent
	Format      *byte             // payload format indicator, 0 or 1; nil: none was sent
	Response    string            // response topic as it was sent, to be forwarded and not followed
	Expiry      time.Duration     // message expiry interval; 0: never
	Received    time.Time
	// Reply is where an operator wants the answer, as access.Reply allows it; empty: nowhere,
	// as for devices. Correlation belongs into the answer as it is.
	Reply       string
	Correlation []byte
}

// Property is one user property.
type Property struct{ Key, Value string }

// Message is one message to clients; those get it for whom access.Deliver allows its topic. Deliver does not change it and may keep
// Payload and User until they are written to every receiver.
type Message struct {
	Topic       string
	Payload     []byte
	ContentType string
	User        []Property    // user properties, in order
	Format      *byte         // payload format indicator, 0 or 1; nil: none
	Response    string        // response topic
	Expiry      time.Duration // rounded up to seconds, counted down while it waits; 0: never
	Retain      bool          // told to subscribers that asked for retain-as-published
	QoS         byte          // 0 or 1; a subscription may lower it
	Correlation []byte        // correlation data, of a request or of what answers it
	// From is the Connection of the client that caused the message; subscriptions
	// with no-local on it do not get the message. Zero: nobody.
	From uint64
}

// Handler is the cloud behind the broker. Its methods are called from many
// goroutines, never after Run has returned.
type Handler interface {
	// Connect says whether a client with a good certificate may connect now. An
	// error refuses it; see ErrNotRegistered and the others for the code.
	Connect(Client) error
	// Publish takes one message and must not block for long: it runs in the reader of
	// the connection. It calls done exactly once, from any goroutine, with the reason
	// code for the PUBACK: 0 once the message is on disk. Acknowledgements of a client
	// leave in the order of its publishes, whatever the order of the calls.
	Publish(p Publish, done func(code byte))
	// Presence is called for births, announcements and ends of connections that count,
	// one at a time and in order for each device, after Publish has accepted the same
	// message. A connection that ends without a last word ends by its will, or by what
	// the broker says in its name; those count whatever Publish answers, and are not
	// waited for. When Presence is called often for a device, some that a newer one has
	// followed are left out.
	Presence(Publish, protocol.Presence)
	// Retained gives the messages that a new subscription to filter gets first. It must
	// be quick: until it returns, nothing new is delivered to the subscriber.
	Retained(filter string) []Message
}

// Config of a Broker. Zero values mean the defaults of queues.go.
type Config struct {
	Listen string // host:port; port 0 chooses one, see Addr
	// Listener is TCP, already open, instead of Listen; the Broker closes it. It bounds who
	// has not connected yet, and goes on after passing errors: the first error ends Run.
	Listener net.Listener
	// TLS must ask for and verify client certificates.
	TLS *tls.Config
	// Identify reads who a verified client certificate was issued to.
	Identify func(*x509.Certificate) (principal.Principal, error)
	// Access is asked for each connection, publish, subscription and delivery, and must be quick; nil: access.Decide.
	Access func(p principal.Principal, verb access.Verb, object string) *access.Rule
	// Taken says whether somebody takes a client's publishes to a topic that Access calls unread: then they are allowed.
	// It is asked for each of them and must be quick; nil: nobody does.
	Taken   func(p principal.Principal, topic topics.Topic) bool
	Handler Handler
	// Explain says in at most 256 bytes why publishes are refused with a code now, for the Reason String of
	// their PUBACK; nil or "": nothing is said. It is called by the writers of connections and must be quick.
	Explain func(code byte) string

	ReceiveMaximum      int           // unacknowledged QoS 1 publishes of one client, at most 65535
	MaxInflight         int           // publishes that the Handler holds, over all clients; more are refused with 0x97
	MaxInflightBytes    int64         // the same in bytes of payload
	MaxArrivingBytes    int64         // of large packets that have not arrived whole, over all clients; more: DISCONNECT 0x97
	MaxConnections      int           // more are refused with 0x89
	MaxSessions         int           // of devices, connected or not; more are refused with 0x97
	SessionsPerOperator int           // of one operator, whatever its client identifiers; a further one ends its oldest without connection, or is refused with 0x97
	MaxOperatorSessions int           // of all operators; the same
	QueueMessages       int           // messages waiting for one session; see session.offer for what overflow does
	QueueBytes          int64         // the same in bytes
	MaxSessionExpiry    time.Duration // longest life of a session without connection
	ConnectTimeout      time.Duration // for the TLS handshake and CONNECT together
	WriteTimeout        time.Duration // for one write to a client

	Log *slog.Logger // nil: silent
}

// Broker is an MQTT broker. Its methods may be called from any goroutine.
type Broker struct {
	cfg         Config
	log         *slog.Logger
	listener    net.Listener
	filters     filters
	presence    presenceBook
	schedule    schedule
	counters    counters
	panicLogged atomic.Int64     // when, in ns since the Unix epoch
	buffers     sync.Pool        // of *bytes.Buffer, for the writers
	packets     sync.Pool        // of *packets.Packet, for the readers
	chunks      sync.Pool        // of *[readChunk]byte, for the readers
	writers     sync.WaitGroup   // the goroutines that write
	resting     chan *connection // to those that have nothing to write
	rests       atomic.Int64     // how many these are, about
	over        chan struct{}    // closed when all connections have ended
	places      atomic.Int64     // connections whose CONNECT was accepted or is being judged

	connections sync.WaitGroup // one for each serve, and one for each reader

	mu        sync.Mutex               // guards what follows, and the fields of session that say so
	sessions  map[string]*session      // by session key
	open      map[*connection]struct{} // every connection being served
	operators operatorSessions
	lastConn  uint64
	connected int
	closing   bool

	inflight      atomic.Int64 // publishes that the Handler holds
	inflightBytes atomic.Int64
	arriving      atomic.Int64 // bytes of packets that have not arrived whole; see connection.body
}

// New opens the listener. Run must be called afterwards, also to close it.
func New(cfg Config) (*Broker, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("broker: no handler")
	case cfg.Identify == nil:
		return nil, errors.New("broker: no function to identify certificates")
	case cfg.TLS == nil || cfg.TLS.ClientAuth != tls.RequireAndVerifyClientCert:
		return nil, errors.New("broker: TLS must require and verify client certificates")
	}
	cfg.setDefaults()
	b := &Broker{
		cfg: cfg, log: cfg.Log, listener: cfg.Listener,
		sessions: make(map[string]*session), open: make(map[*connection]struct{}),
		resting: make(chan *connection), over: make(chan struct{}),
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.operators.keys = make(map[string]map[string]struct{})
	b.presence.init(cfg.Handler)
	b.schedule.init()
	if b.listener == nil {
		listener, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("broker: %w", err)
		}
		b.listener = listener
	}
	return b, nil
}

// Addr is where the broker listens.
func (b *Broker) Addr() net.Addr { return b.listener.Addr() }

// Run serves clients until ctx is done or the listener fails for good. It returns
// when everything it started has stopped, nil after ctx. Connected clients get
// DISCONNECT 0x8B; their wills are not published: a restart makes presence unknown.
// The Handler must have called every done, or still be able to, for Run to end. Every
// message of Send is settled by then.
func (b *Broker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	background.Go(func() { b.schedule.run(ctx, b.due) })
	background.Go(func() {
		<-ctx.Done()
		_ = b.listener.Close()
	})
	err := b.accept(ctx)
	cancel()
	b.shutDown()
	b.connections.Wait()
	close(b.over)
	b.writers.Wait()
	background.Wait()
	b.endSessions()
	b.presence.wait()
	return err
}

// shutDown tells every connection to end.
func (b *Broker) shutDown() {
	b.mu.Lock()
	b.closing = true
	open := make([]*connection, 0, len(b.open))
	for c := range b.open {
		open = append(open, c)
	}
	b.mu.Unlock()
	for _, c := range open {
		c.kick(codeShuttingDown)
	}
}

// Connected says whether a device holds a connection now.
func (b *Broker) Connected(vehicle protocol.VehicleID, device protocol.DeviceID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[principal.OfDevice(vehicle, device).URI()]
	return s != nil && s.attached
}

// Disconnect ends the connection of a device, or with an empty device those of the
// whole vehicle, with a DISCONNECT of the given reason code (0x80 and above), and
// says how many there were. Wills count as after any lost connection.
func (b *Broker) Disconnect(vehicle protocol.VehicleID, device protocol.DeviceID, code byte) int {
	var found []*connection
	b.mu.Lock()
	for c := range b.open {
		if c.client.Vehicle == vehicle && vehicle != "" && (device == "" || c.client.Device == device) {
			found = append(found, c)
		}
	}
	b.mu.Unlock()
	for _, c := range found {
		c.kick(code)
	}
	return len(found)
}
