package backbone

import (
	"context"
	"time"
)

// Feed is one stream as its readers see it.
type Feed struct {
	backbone *Backbone
	stream   string
}

// Feed gives a stream for reading. Whether there is one of that name the first call of a method says.
func (b *Backbone) Feed(stream string) Feed { return Feed{b, stream} }

// Read is Backbone.Read of this stream.
func (f Feed) Read(ctx context.Context, from uint64, limit int, wait time.Duration) ([]Message, error) {
	return f.backbone.Read(ctx, f.stream, from, limit, wait)
}

// Kept gives the sequences of the oldest and the newest message; of an empty stream first is behind last.
func (f Feed) Kept(ctx context.Context) (first, last uint64, err error) {
	info, err := f.backbone.Info(ctx, f.stream)
	return info.First, info.Last, err
}

// Last gives the sequence of the newest message that there was; 0 when there never was one.
func (f Feed) Last(ctx context.Context) (uint64, error) {
	info, err := f.backbone.Info(ctx, f.stream)
	return info.Last, err
}

// Next gives the sequence of the first message from a sequence on; 0 when there is none.
func (f Feed) Next(ctx context.Context, from uint64) (uint64, error) {
	return f.backbone.Next(ctx, f.stream, from)
}

// Delete is Backbone.Delete of this stream.
func (f Feed) Delete(ctx context.Context, sequence uint64) (bool, error) {
	return f.backbone.Delete(ctx, f.stream, sequence)
}
