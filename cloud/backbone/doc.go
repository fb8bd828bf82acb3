// Package backbone keeps what the cloud must not lose: streams of messages in
// the order they were stored, and buckets of keys with compare-and-set.
//
// It is NATS JetStream, run inside this process on one data directory without
// any listening port, or an existing NATS server or cluster when a URL is
// given. Nothing of NATS shows in the interface.
//
//	Declare     a stream: its subjects, bounds, and what happens at them
//	Publish ──> queue of the stream ──> group committer ──> on disk ──> done(seq, nil)
//	PublishExpecting  the same, if nothing else was published to the subject meanwhile (compare-and-set)
//	Timers      Schedule, Cancel: what fires at a time, after a restart, too
//	Reader  <── from any sequence, in order
//	Trim        what nobody needs any more, when a stream needs the room
//	Bucket      Get, Put, Create, Update (compare-and-set), Delete, List, Watch
//
// # What is promised
//
// A message whose done was called without an error, and a value whose Put,
// Create, Update or Delete returned without one, is on disk: written and synced, so
// that neither a killed process nor a power cut takes it away (but for streams declared InMemory). Messages of one
// goroutine keep their order within a stream. A message may be stored without
// its done having said so (see ErrUnknown, and a process that dies between the
// two), so whoever publishes again must be told apart by its content: the
// vehicles' sequence numbers do that, not this package.
//
// A timer that Schedule took fires at least once, also when the process is killed before, while or after. Whoever
// handles it makes its effect happen once, with compare-and-set.
//
// The timers are records in a stream of their own, and this process fires them itself. JetStream can schedule messages, too,
// but not in a stream that refuses what is beyond its bound: one timer more would silently delete the oldest one there.
// JetStream also looks at the clock only when it arms a timer, so that it notices late when the clock was set forward, and
// it has no bound for each owner.
//
// # Groups
//
// The streams Up and Low, which take what vehicles send, keep all messages of one commit as one record: one write and one
// sync, whatever is in it (group.go has the format). A commit takes what waits, so a message that comes alone is alone in its
// record. Sequences are those of messages all the same. What is lost with it: a message of these streams cannot be
// found by its subject, deleted, or published on a condition; Trim deletes whole records; and nobody else may
// publish to the subjects of these streams on an external server: what others store there is passed over, counted, and said once.
//
// The other streams keep each message for itself. A commit of many of them is an atomic batch of JetStream's, see cost.go.
//
// # What it is not for
//
// It does not know vehicles, batches or consent: subjects and bytes only. It
// keeps no read position for anybody; whoever projects a stream remembers the
// last sequence together with the projection. Bodies over MaxData belong into
// an object store with only their reference in here.
//
// # The data directory
//
//	VERSION     the layout's version, one number
//	LOCK        held with flock while a process uses the directory; its text is the process id
//	jetstream/  JetStream's own files
package backbone
