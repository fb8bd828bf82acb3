package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale.dev/cloud/backbone"
	"telltale.dev/cloud/ingest"
)

// store gives rooms that keep entries by key a bucket of the backbone.
type store struct{ bucket *backbone.Bucket }

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

// publisher lets ingest write to the backbone's streams.
type publisher struct{ backbone *backbone.Backbone }

// Publish implements ingest.Publisher.
func (p publisher) Publish(m ingest.Message, done func(uint64, error)) {
	p.backbone.Publish(backbone.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, func(seq uint64, err error) {
		done(seq, ingestError(err))
	})
}

// ingestError says in ingest's words what the backbone refused for.
func ingestError(err error) error {
	switch {
	case errors.Is(err, backbone.ErrBusy):
		return fmt.Errorf("%w: %w", ingest.ErrBusy, err)
	case errors.Is(err, backbone.ErrFull):
		return fmt.Errorf("%w: %w", ingest.ErrFull, err)
	}
	return err
}

// stream lets ingest read one of the backbone's streams.
type stream struct {
	backbone *backbone.Backbone
	name     string
}

// Read implements ingest.Stream.
func (s stream) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]ingest.Message, error) {
	messages, err := s.backbone.Read(ctx, s.name, from, limit, wait)
	out := make([]ingest.Message, len(messages))
	for i, m := range messages {
		out[i] = ingest.Message(m)
	}
	return out, err
}

// Kept implements ingest.Kept.
func (s stream) Kept(ctx context.Context) (first, last uint64, err error) {
	info, err := s.backbone.Info(ctx, s.name)
	return info.First, info.Last, err
}

// Last implements ingest.Ended.
func (s stream) Last(ctx context.Context) (uint64, error) {
	info, err := s.backbone.Info(ctx, s.name)
	return info.Last, err
}

// Next implements ingest.Following.
func (s stream) Next(ctx context.Context, from uint64) (uint64, error) {
	return s.backbone.Next(ctx, s.name, from)
}
