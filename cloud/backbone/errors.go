package backbone

import "errors"

// Errors of Publish and of writing to a bucket. With ErrBusy, ErrFull,
// ErrTooLarge, ErrInvalid and ErrRefused nothing was stored.
var (
	// ErrBusy: the queue is full, because messages come faster than the disk takes them, or there is no
	// connection to an external server. Try again later.
	ErrBusy = errors.New("backbone is busy")
	// ErrFull: the limit of the stream or the reserve of free disk space is reached. Try again when space was made.
	ErrFull = errors.New("backbone is full")
	// ErrTooLarge: the message or value is larger than MaxData or than the server takes. It will never be stored.
	ErrTooLarge = errors.New("message too large")
	// ErrInvalid: the subject, a header, a key or a name is malformed. It will never be stored.
	ErrInvalid = errors.New("invalid message")
	// ErrRefused: the server refused the message for another reason, named in the error.
	ErrRefused = errors.New("server refused the message")
	// ErrUnknown: no answer came; the message may or may not be stored. Publish again and de-duplicate.
	ErrUnknown = errors.New("outcome unknown")
	// ErrFailed: a write to disk failed. JetStream refuses all further writes until it is started again, so the process must
	// end and be started again; see Backbone.Failed. The messages in flight may or may not be stored.
	ErrFailed = errors.New("backbone failed, restart needed")
	// ErrClosed: the backbone, the reader or the watch was closed.
	ErrClosed = errors.New("backbone is closed")
)

// Errors of a bucket.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("key not found")
	// ErrExists: Create found a value.
	ErrExists = errors.New("key exists")
	// ErrConflict: Update or Delete found another revision than the caller had read, or PublishExpecting another
	// message, see ConflictError. Read again and decide again.
	ErrConflict = errors.New("revision conflict")
)

// ErrFired: the timer's handler runs, or ran already, so that it is too late to cancel it.
var ErrFired = errors.New("timer has fired")

// Errors of Open. Each says in its text what to do.
var (
	// ErrLocked: another process uses the data directory.
	ErrLocked = errors.New("data directory is in use")
	// ErrVersion: the data directory was written by another version, or by something else altogether.
	ErrVersion = errors.New("data directory has an unknown layout")
	// ErrNotWritable: the data directory cannot be written.
	ErrNotWritable = errors.New("data directory is not writable")
	// ErrStart: JetStream did not start on the data directory.
	ErrStart = errors.New("jetstream did not start")
	// ErrUnreachable: no NATS server answers at the URL.
	ErrUnreachable = errors.New("nats server unreachable")
	// ErrUnsuitable: the NATS server has no JetStream, or is too old.
	ErrUnsuitable = errors.New("nats server unsuitable")
)
