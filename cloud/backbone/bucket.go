package backbone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket holds values by key. Each write of a key gives it a new revision; the
// revisions of a bucket rise over all its keys. Only the newest value is kept.
// Its methods may be called from many goroutines.
//
// Keys are 1 to MaxKey bytes of any kind, values 0 to MaxData bytes. A write is on disk when it returns;
// its errors wrap those of Publish, or ErrNotFound, ErrExists, ErrConflict.
// After ErrUnknown only Get tells what the bucket holds. On a cluster Get may be
// answered by a replica that lags a moment; an Update from there ends in ErrConflict.
type Bucket struct {
	owner *Backbone
	name  string
	kv    jetstream.KeyValue
}

// Entry is the value of a key.
type Entry struct {
	Key      string
	Value    []byte // belongs to the caller
	Revision uint64 // never zero
	Stored   time.Time
}

// Bucket opens the bucket of that name, made when missing. Names are letters, digits, - and _.
func (b *Backbone) Bucket(name string) (*Bucket, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	if err := b.fault.err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	kv, err := b.reader.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.reader.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: b.replicas,
		})
	}
	if errors.Is(err, jetstream.ErrInvalidBucketName) {
		return nil, fmt.Errorf("bucket name %q, expected letters, digits, - and _: %w", name, ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, b.orClosed(err))
	}
	return &Bucket{owner: b, name: name, kv: kv}, nil
}

// Get gives the newest value of key, or ErrNotFound.
func (k *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	form, err := encodeKey(key)
	if err != nil {
		return Entry{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e, err := k.kv.Get(ctx, form)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, fmt.Errorf("get from bucket %s: %w", k.name, k.owner.orClosed(err))
	}
	return Entry{Key: key, Value: e.Value(), Revision: e.Revision(), Stored: e.Created()}, nil
}

// Put sets key whatever it held and gives the new revision.
func (k *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, value, ErrConflict, func(ctx context.Context, form string) (uint64, error) {
		return k.kv.Put(ctx, form, value)
	})
}

// Create sets key unless it has a value: then ErrExists.
func (k *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, value, ErrExists, func(ctx context.Context, form string) (uint64, error) {
		return k.kv.Create(ctx, form, value)
	})
}

// Update sets key if its revision still is rev: else ErrConflict.
func (k *Bucket) Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if rev == 0 {
		return 0, fmt.Errorf("update of bucket %s needs a revision; Create makes new keys: %w", k.name, ErrInvalid)
	}
	return k.write(ctx, key, value, ErrConflict, func(ctx context.Context, form string) (uint64, error) {
		return k.kv.Update(ctx, form, value, rev)
	})
}

// Delete removes key if its revision still is rev (else ErrConflict); with rev
// zero whatever it holds. Deleting a key without a value is no error then.
func (k *Bucket) Delete(ctx context.Context, key string, rev uint64) error {
	_, err := k.write(ctx, key, nil, ErrConflict, func(ctx context.Context, form string) (uint64, error) {
		if rev == 0 {
			return 0, k.kv.Delete(ctx, form)
		}
		return 0, k.kv.Delete(ctx, form, jetstream.LastRevision(rev))
	})
	return err
}

// Erase removes key whatever it holds, so that nothing tells any more that it was there: Delete leaves a mark with
// its name. It is on disk when it returns; after an error the value may be there, or a mark.
func (k *Bucket) Erase(ctx context.Context, key string) error {
	if err := k.Delete(ctx, key, 0); err != nil {
		return err
	}
	form, err := encodeKey(key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := k.owner.mayTrim(); err != nil {
		return fmt.Errorf("erase from bucket %s: %w", k.name, err)
	}
	s, err := k.owner.reader.js.Stream(ctx, "KV_"+k.name)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject("$KV."+k.name+"."+form))
	}
	if err != nil {
		return fmt.Errorf("erase from bucket %s: %w", k.name, k.owner.orClosed(err))
	}
	return nil
}

// write checks what every write checks and runs do with the form of key; mismatch is the error when
// the key is not at the revision that do expects.
func (k *Bucket) write(ctx context.Context, key string, value []byte, mismatch error,
	do func(context.Context, string) (uint64, error)) (uint64, error) {
	form, err := encodeKey(key)
	if err != nil {
		return 0, err
	}
	if len(value) > MaxData {
		return 0, fmt.Errorf("value has %d bytes, expected at most %d: %w", len(value), MaxData, ErrTooLarge)
	}
	if err := k.owner.fault.refusal(); err != nil {
		return 0, err
	}
	if err := k.owner.allow(len(form)+len(value)+messageOverhead, bucketPart); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	rev, err := do(ctx, form)
	if err != nil {
		return 0, fmt.Errorf("write to bucket %s: %w", k.name, k.writeError(ctx, err, mismatch))
	}
	return rev, nil
}

// bucketPart lets buckets write into half of the reserve of free space: a consent
// can still be withdrawn when data have filled the disk.
const bucketPart = 2

func (k *Bucket) writeError(ctx context.Context, err, mismatch error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch): // one code of the server
		return mismatch
	case errors.Is(err, nats.ErrConnectionClosed):
		return k.owner.orClosed(err)
	}
	return k.owner.classify(ctx, err)
}

// errStalled ends a list that waits for an entry which does not come.
var errStalled = errors.New("not all of its entries can be read; if this comes again its files are damaged: restore them from a backup")

// List gives all entries, in no order that means anything. JetStream never gives an
// entry that is damaged on disk, nor says so: then List gives up.
func (k *Bucket) List(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(k.owner.patience, func() { cancel(errStalled) })
	defer stalled.Stop()
	var all []Entry
	err := k.Watch(ctx, func(c Change) error {
		stalled.Reset(k.owner.patience)
		switch c.Kind {
		case Put:
			all = append(all, c.Entry)
		case Current:
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return newest(all), nil
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return nil, fmt.Errorf("list bucket %s: %w", k.name, errStalled)
	}
	return nil, err
}

// newest keeps the last entry of each key: one written while it is listed comes twice.
func newest(all []Entry) []Entry {
	at := make(map[string]int, len(all))
	kept := all[:0]
	for _, e := range all {
		if i, ok := at[e.Key]; ok {
			kept[i] = e
			continue
		}
		at[e.Key] = len(kept)
		kept = append(kept, e)
	}
	return kept
}
