package backbone

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ChangeKind says what a Change is.
type ChangeKind uint8

// The kinds of changes.
const (
	Put     ChangeKind = iota + 1 // Entry is the new value of its key
	Deleted                       // Entry.Key has no value any more; Entry.Revision is that of the deletion
	Current                       // every value that was there at the start has been given; Entry is empty
)

// Change is one step of a watch.
type Change struct {
	Kind ChangeKind
	Entry
}

// errEnough ends a watch of List.
var errEnough = errors.New("enough")

// Watch calls each with every value of the bucket, then once with Current, and then
// with every change in the order of revisions, until ctx ends, each returns an
// error, or the backbone is closed; it returns that error, or ErrClosed. Before Current only
// the newest value of a key comes, but a key that changes meanwhile may come twice.
// each is called from one goroutine; a slow one delays the watch, up to 256 changes wait for it.
func (k *Bucket) Watch(ctx context.Context, each func(Change) error) error {
	if err := k.owner.alive(); err != nil {
		return err
	}
	watcher, err := k.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", k.name, k.owner.orClosed(err))
	}
	defer stopWatcher(watcher)
	current := false
	for {
		select {
		case e, ok := <-watcher.Updates():
			if !ok {
				return errors.Join(ctx.Err(), fmt.Errorf("watch bucket %s: %w", k.name, ErrClosed))
			}
			c, err := change(e)
			if err != nil {
				return fmt.Errorf("watch bucket %s: %w", k.name, err)
			}
			if c.Kind == Deleted && !current {
				continue // a mark left behind, of no interest to who has no older value
			}
			current = current || c.Kind == Current
			if err := each(c); err != nil {
				return err
			}
		case <-k.owner.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func change(e jetstream.KeyValueEntry) (Change, error) {
	if e == nil {
		return Change{Kind: Current}, nil
	}
	key, err := decodeKey(e.Key())
	if err != nil {
		return Change{}, err
	}
	c := Change{Kind: Put, Entry: Entry{Key: key, Value: e.Value(), Revision: e.Revision(), Stored: e.Created()}}
	if e.Operation() != jetstream.KeyValuePut {
		c.Kind, c.Value = Deleted, nil
	}
	return c, nil
}

// stopWatcher ends the watcher and drains it, since its goroutine may be waiting to hand over.
func stopWatcher(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails only when the connection is closed, which stops it too
	for range w.Updates() {
	}
}
