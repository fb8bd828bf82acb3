package backbone

import "time"

// The bounds of everything that waits in memory. Each stream has its own committer, so
// that bulk data filling its queue never refuses urgent messages.
const (
	// queueMessages and queueBytes bound what waits in one committer for its commit; beyond, Publish refuses with ErrBusy.
	// A thousand vehicles with eight publishes in flight each must fit: at 20 thousand messages a second a full queue is 0.8 s of work.
	queueMessages = 16 << 10
	queueBytes    = 64 << 20

	// batchMessages and batchBytes bound one commit. The server takes at most 1,000 messages an atomic batch;
	// above 500 the gain is small and the wait of the first message grows.
	batchMessages = maxGroup
	batchBytes    = 4 << 20
	// groupBytes and the groupPart-th of a stream's MaxBytes bound one record of a grouped stream, unless a single message is larger.
	groupBytes = 512 << 10
	groupPart  = 32

	// bulkPause is the time from the begin of one commit of bulk data to that of the next one, unless a whole batch waits.
	// It is what a bulk message waits at most for the sake of urgent ones.
	bulkPause = 10 * time.Millisecond

	// readAheadMessages and readAheadBytes bound what a Reader asks of the server before it is read; the reader then blocks.
	// The bytes must hold the largest message.
	readAheadMessages = 512
	readAheadBytes    = 8 << 20

	// lookBytes bounds the same for a reader that Read opens at a place of a grouped stream, for a few messages: a record may
	// hold hundreds of them.
	lookBytes = 2 << 20

	// readerMessages is the capacity of the channel between a Reader's goroutine and its user; readerGroups is that of a
	// grouped stream, whose records may have a megabyte each.
	readerMessages = 32
	readerGroups   = 2

	// idleReaders is the number of readers kept open per stream for the next Backbone.Read that goes on where one stopped.
	idleReaders = 4
)

// The times after which a server that does not answer is given up.
const (
	// commitTimeout bounds one commit. Its outcome is unknown then.
	commitTimeout = 15 * time.Second
	// requestTimeout bounds questions such as Info when the caller's context has no deadline.
	requestTimeout = 10 * time.Second
	// startTimeout is the default of Config.StartTimeout.
	startTimeout = 30 * time.Second
	// closeTimeout bounds the commits of Close, all together.
	closeTimeout = 20 * time.Second
	// outageWait is between attempts to connect to an external server again; nats.go adds up to 1 s for TLS, 0.1 s without.
	outageWait = 500 * time.Millisecond
	// reconnectWait is between attempts to connect to the embedded server again.
	reconnectWait = 20 * time.Millisecond
)
