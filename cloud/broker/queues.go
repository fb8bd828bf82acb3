package broker

import (
	"time"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol"
)

// Sizes, and what happens beyond them. Those of Config are defaults.
const (
	defaultReceiveMaximum   = 64        // publishes of one client: its reader waits
	defaultMaxInflight      = 16 << 10  // publishes of all clients: refused with 0x97
	defaultMaxInflightBytes = 128 << 20 // the same
	defaultMaxArriving      = 256 << 20 // bytes of large packets on their way: DISCONNECT 0x97
	defaultMaxConnections   = 20_000    // refused with 0x89
	defaultMaxSessions      = 40_000    // of devices: refused with 0x97
	defaultPerOperator      = 256       // sessions of one operator: its oldest without connection ends, else refused with 0x97
	defaultOperatorSessions = 2048      // of all operators: the same
	defaultQueueMessages    = 4096      // QoS 0 dropped, then the session is cut; see session.offer
	defaultQueueBytes       = 16 << 20  // the same

	sendWindow       = 128      // QoS 1 messages in flight to one client, whatever it allows: the queue waits
	maxResting       = 16       // goroutines that have written, and wait for the next connection: a further one ends
	writeChunk       = 16 << 10 // bytes that the writer collects before it writes: one TLS record
	maxTracked       = 64       // messages of Send in one session: a further one is settled as Busy
	maxSubscriptions = 128      // of one session: 0x97
	maxFilters       = 128      // in one SUBSCRIBE or UNSUBSCRIBE: DISCONNECT 0x82
	maxUserProps     = 32       // of one publish: refused with 0x97
	maxClientID      = 128      // bytes, of operators: 0x85
	maxExplanation   = 256      // bytes of a Reason String: left out
	pubackOverhead   = 12       // bytes of a PUBACK besides its Reason String, at most
	maxCorrelation   = 1 << 10  // bytes of correlation data in one publish of an operator: refused with 0x97
	maxPresence      = 4 << 10  // bytes of a presence, which the cloud keeps of each device: 0x99
	maxPresences     = 16       // presences of one device that wait for the handler: the newest replaces the last
	presenceBurst    = 32       // presences of one device told at once; beyond it one every presenceInterval

	topicAliasMaximum = 32 // inbound; none outbound
	drainBuffer       = 4 << 10
	readChunk         = 4 << 10 // bytes read from the network at once, and held while the reader waits for the handler
	firstRead         = 4 << 10 // bytes of a packet that memory is taken for before more of it has arrived
	keptUploads       = 8       // places for unacknowledged publishes that a connection without any keeps
	maxDrain          = 1 << 20 // bytes thrown away after the last word to a client: then the socket is reset
)

// Times.
const (
	defaultMaxSessionExpiry = 24 * time.Hour
	defaultConnectTimeout   = 10 * time.Second
	defaultWriteTimeout     = 10 * time.Second
	farewell                = time.Second           // for the DISCONNECT of a client that is being dropped
	drainTime               = 20 * time.Millisecond // after the last word to a client: silence that ends the connection,
	lingerTime              = 5 * time.Second       // and the end, for a client that goes on sending
	restTime                = time.Second           // of a goroutine that has nothing to write
	panicLogInterval        = time.Minute           // between two stacks in the log
	packetTime              = 2 * time.Minute       // of a large packet, from its header on

	// quotaDelay is how long a PUBACK with 0x97 waits: a client that ignores it gets
	// no more than its receive maximum through the broker in that time, and costs next to nothing.
	quotaDelay = 100 * time.Millisecond

	// presenceInterval is how often the handler is told of a device that floods presence.
	presenceInterval = 500 * time.Millisecond

	maxKeepAlive  = 20 * 60 // seconds; MQTT 5 clients that ask for more, or none, are told this
	maxKeepAlive3 = 43_690  // seconds, half a day; clients of MQTT 3.1.1 cannot be told, so it is longer
)

// maxPacket is the largest packet read from a client, in bytes.
const maxPacket = protocol.MaxPacket

func (c *Config) setDefaults() {
	if c.Access == nil {
		c.Access = access.Decide
	}
	orInt(&c.ReceiveMaximum, defaultReceiveMaximum)
	orInt(&c.MaxInflight, defaultMaxInflight)
	orInt(&c.MaxInflightBytes, defaultMaxInflightBytes)
	orInt(&c.MaxArrivingBytes, defaultMaxArriving)
	orInt(&c.MaxConnections, defaultMaxConnections)
	orInt(&c.MaxSessions, defaultMaxSessions)
	orInt(&c.SessionsPerOperator, defaultPerOperator)
	orInt(&c.MaxOperatorSessions, defaultOperatorSessions)
	orInt(&c.QueueMessages, defaultQueueMessages)
	orInt(&c.QueueBytes, defaultQueueBytes)
	orInt(&c.MaxSessionExpiry, defaultMaxSessionExpiry)
	orInt(&c.ConnectTimeout, defaultConnectTimeout)
	orInt(&c.WriteTimeout, defaultWriteTimeout)
	c.ReceiveMaximum = min(c.ReceiveMaximum, 65535)
}

// orInt sets v to the default unless it has a positive value.
func orInt[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
