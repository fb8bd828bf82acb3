package ingest

import (
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"telltale.dev/protocol"
)

// Quota is what one vehicle may send. Rates are refilled all the time; a vehicle
// that was silent may send a burst, which must leave room for draining what it
// buffered in a tunnel. A zero field takes its value from DefaultQuota.
type Quota struct {
	Messages      float64 // a second
	MessagesBurst float64 // at once
	Bytes         float64 // of payload a second
	BytesBurst    float64 // at once; at least protocol.MaxPacket
}

// DefaultQuota lets a vehicle drain ten minutes of tunnel in seconds, and stops a flood.
func DefaultQuota() Quota {
	return Quota{Messages: 200, MessagesBurst: 2000, Bytes: 2 << 20, BytesBurst: 32 << 20}
}

func (q Quota) withDefaults() Quota {
	d := DefaultQuota()
	for _, f := range [...]struct{ v, def *float64 }{
		{&q.Messages, &d.Messages}, {&q.MessagesBurst, &d.MessagesBurst},
		{&q.Bytes, &d.Bytes}, {&q.BytesBurst, &d.BytesBurst},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	return q
}

func (q Quota) validate() error {
	if q.Messages < 0 || q.Bytes < 0 || q.MessagesBurst < 1 || q.BytesBurst < protocol.MaxPacket {
		return errors.New("quota: expected positive rates, a burst of at least one message and one packet")
	}
	return nil
}

// idle is how long a silent vehicle's bucket takes to be full again: from then on it need not be kept.
func (q Quota) idle() time.Duration {
	s := max(q.MessagesBurst/q.Messages, q.BytesBurst/q.Bytes)
	return time.Duration(min(s, 24*3600) * float64(time.Second))
}

// quotaShards is how many locks the vehicles share.
const quotaShards = 64

// quotas holds a token bucket for each vehicle that sent lately.
type quotas struct {
	quota  Quota
	idle   time.Duration
	seed   maphash.Seed
	shards [quotaShards]quotaShard
}

type quotaShard struct {
	mu      sync.Mutex // guards the rest
	buckets map[protocol.VehicleID]*bucket
	swept   time.Time
	_       [24]byte // a cache line of its own
}

type bucket struct {
	messages, bytes float64 // tokens left
	at              time.Time
}

func newQuotas(q Quota) *quotas {
	s := &quotas{quota: q, idle: q.idle(), seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].buckets = make(map[protocol.VehicleID]*bucket)
	}
	return s
}

// take says whether the vehicle may send a message of this size at now, and if
// so counts it. A clock that goes back refills nothing.
func (s *quotas) take(vid protocol.VehicleID, size int, now time.Time) bool {
	shard := &s.shards[maphash.String(s.seed, string(vid))%quotaShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	b := shard.buckets[vid]
	if b == nil {
		shard.sweep(now, s.idle)
		b = &bucket{messages: s.quota.MessagesBurst, bytes: s.quota.BytesBurst, at: now}
		shard.buckets[vid] = b
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.messages = min(b.messages+passed*s.quota.Messages, s.quota.MessagesBurst)
		b.bytes = min(b.bytes+passed*s.quota.Bytes, s.quota.BytesBurst)
	}
	b.at = now
	if b.messages < 1 || b.bytes < float64(size) {
		return false
	}
	b.messages--
	b.bytes -= float64(size)
	return true
}

// sweep forgets the buckets that are full again. It runs at most once in an idle
// time, when a vehicle turns up that has no bucket.
func (s *quotaShard) sweep(now time.Time, idle time.Duration) {
	if now.Sub(s.swept) < idle {
		return
	}
	s.swept = now
	for vid, b := range s.buckets {
		if now.Sub(b.at) >= idle {
			delete(s.buckets, vid)
		}
	}
}

// len is the number of buckets kept.
func (s *quotas) len() (n int) {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += len(s.shards[i].buckets)
		s.shards[i].mu.Unlock()
	}
	return n
}
