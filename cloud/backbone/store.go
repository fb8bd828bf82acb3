package backbone

import "context"

// Store keeps entries by key; Put and Delete return when that is on disk.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error // nil also when there is none
	List(ctx context.Context) (map[string][]byte, error)
}

// Store gives the bucket of that name, made when missing, to who needs no revisions. A deleted entry leaves nothing.
func (b *Backbone) Store(name string) (Store, error) {
	bucket, err := b.Bucket(name)
	if err != nil {
		return nil, err
	}
	return store{bucket}, nil
}

type store struct{ bucket *Bucket }

func (s store) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.bucket.Put(ctx, key, value)
	return err
}

func (s store) Delete(ctx context.Context, key string) error { return s.bucket.Erase(ctx, key) }

func (s store) List(ctx context.Context) (map[string][]byte, error) {
	entries, err := s.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(entries))
	for _, e := range entries {
		values[e.Key] = e.Value
	}
	return values, nil
}
