package backbone

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// watchEvery is how often is looked whether something refuses, without anybody who publishes.
const watchEvery = time.Second

// refusals remembers what refuses now, so that it is said once when it begins and once when it ends.
type refusals struct {
	mu  sync.Mutex // guards why
	why map[string]string
}

// Refusals says why messages are refused now: by "backbone" for all of them, "disk" for
// all because there is no room, or "stream UP" and the like for one stream. It is empty
// while everything is taken. It is brought up to date every second and when a message is refused.
func (b *Backbone) Refusals() map[string]string {
	b.refusing.mu.Lock()
	defer b.refusing.mu.Unlock()
	now := make(map[string]string, len(b.refusing.why))
	for what, why := range b.refusing.why {
		now[what] = why
	}
	return now
}

// Space is what is free on the disk, and what is kept free, both in bytes; false for an external server.
func (b *Backbone) Space() (free, reserve int64, ok bool) {
	if b.server == nil || b.server.space.reserve < 0 {
		return 0, 0, false
	}
	free, err := b.server.space.free(b.server.space.path)
	return free, b.server.space.reserve, err == nil
}

// watch keeps the refusals up to date until ctx ends.
func (b *Backbone) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		b.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look finds out what refuses now, and what does no more.
func (b *Backbone) look(ctx context.Context) {
	if err := b.fault.err(); err != nil { // a passing failure is noted when it begins and ends
		b.refuses("backbone", err.Error())
	}
	if free, reserve, ok := b.Space(); ok {
		switch {
		case free < reserve:
			b.refuses("disk", lowDisk(free, reserve))
		case free >= reserve+b.server.space.margin():
			b.takes("disk")
		}
	}
	for _, l := range b.declared.Load().names {
		if size := l.refusedSize.Load(); size > 0 && b.hasRoom(ctx, l, size) {
			l.refusedSize.Store(0)
			b.takes(l.name())
		}
	}
}

// hasRoom says whether a stream that refused so many bytes would take them now.
func (b *Backbone) hasRoom(ctx context.Context, l *committer, size int64) bool {
	limit := l.Limits.MaxBytes
	info, err := b.info(ctx, l.Name)
	return err == nil && (limit <= 0 || int64(info.Bytes)+size <= limit)
}

// lowDisk is how little space is said, everywhere.
func lowDisk(free, reserve int64) string {
	return fmt.Sprintf("%d MiB free, %d MiB are kept free: refusing", free>>20, reserve>>20)
}

// refuses notes that messages are refused, and logs it when it is new.
func (b *Backbone) refuses(what, why string) {
	b.refusing.mu.Lock()
	_, before := b.refusing.why[what]
	b.refusing.why[what] = why
	b.refusing.mu.Unlock()
	if !before {
		b.log.Warn("messages are refused", "by", what, "why", why)
	}
}

// takes notes that messages are taken, and logs it when they were not before.
func (b *Backbone) takes(what string) {
	b.refusing.mu.Lock()
	_, before := b.refusing.why[what]
	delete(b.refusing.why, what)
	b.refusing.mu.Unlock()
	if before {
		b.log.Info("messages are taken again", "by", what)
	}
}

// name is how the log and the health of the cloud name the committer's stream when it refuses messages.
func (l *committer) name() string { return "stream " + l.Name }

// full notes that the stream's own limit refused a message.
func (l *committer) full(size int, why error) {
	l.refusedSize.Store(int64(size))
	l.owner.refuses(l.name(), why.Error())
}
