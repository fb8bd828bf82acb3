package ingest

import (
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
)

// Quota is what one vehicle may send, all its devices together. Rates are refilled all the
// time; a vehicle that was silent may send a burst, which must leave room for draining
// what it buffered in a tunnel. A zero field takes its value from DefaultQuota.
//
// Messages and bytes are counted before the PUBACK. Samples are known behind the stream
// only: they are debited there, and a vehicle in debt is refused until its rate has paid.
type Quota struct {
	Messages      float64 // a second
	MessagesBurst float64 // at once
	Bytes         float64 // of payload a second
	BytesBurst    float64 // at once; at least protocol.MaxPacket
	Samples       float64 // a second
	SamplesBurst  float64 // at once
	// Urgent is the part of all of these that messages of class CS4 and above have for
	// themselves, beside the rest: a crash is told also by a vehicle that used up everything
	// else. When they have used up their own part they take from the common one.
	Urgent float64
}

// DefaultQuota lets a vehicle drain ten minutes of tunnel in seconds, and stops a flood.
//
// 20,000 samples a second are three times what the busiest car we know collects with every
// signal. Their burst is ten minutes at that rate, or 28 minutes of that car; a longer
// backlog is taken at three times the speed at which it came about. It is some 5 s of one
// core's work, which others do not wait for.
func DefaultQuota() Quota {
	return Quota{
		Messages: 200, MessagesBurst: 2000, Bytes: 2 << 20, BytesBurst: 32 << 20,
		Samples: batches.MaxCellRate, SamplesBurst: 600 * batches.MaxCellRate, Urgent: 0.1,
	}
}

func (q Quota) withDefaults() Quota {
	d := DefaultQuota()
	for _, f := range [...]struct{ v, def *float64 }{
		{&q.Messages, &d.Messages}, {&q.MessagesBurst, &d.MessagesBurst},
		{&q.Bytes, &d.Bytes}, {&q.BytesBurst, &d.BytesBurst},
		{&q.Samples, &d.Samples}, {&q.SamplesBurst, &d.SamplesBurst}, {&q.Urgent, &d.Urgent},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
	}
	return q
}

func (q Quota) validate() error {
	if q.Messages < 0 || q.Bytes < 0 || q.Samples < 0 || q.Urgent < 0 || q.Urgent > 1 ||
		q.MessagesBurst < 1 || q.BytesBurst < protocol.MaxPacket || q.SamplesBurst < 1 {
		return errors.New("quota: expected positive rates, a burst of at least one message and one packet, and an urgent part of at most 1")
	}
	return nil
}

// urgent is the share of urgent messages: at least one message and one packet at once.
func (q Quota) urgent() Quota {
	q.Messages, q.MessagesBurst = q.Messages*q.Urgent, max(1, q.MessagesBurst*q.Urgent)
	q.Bytes, q.BytesBurst = q.Bytes*q.Urgent, max(protocol.MaxPacket, q.BytesBurst*q.Urgent)
	q.Samples, q.SamplesBurst = q.Samples*q.Urgent, max(1, q.SamplesBurst*q.Urgent)
	return q
}

// maxDebt is for how many seconds of its rate a vehicle may be in debt; what is beyond is
// forgiven. A debt also comes about when the lake stood still and much is processed at once.
const maxDebt = 600

// idle is how long a silent vehicle's buckets take to be full again, whatever it owes: from then on it need not be kept.
func (q Quota) idle() time.Duration {
	s := max(q.MessagesBurst/q.Messages, q.BytesBurst/q.Bytes, q.SamplesBurst/q.Samples+maxDebt)
	return time.Duration(min(s, 24*3600) * float64(time.Second))
}

// quotaShards is how many locks the vehicles share.
const quotaShards = 64

// quotas holds two token buckets for each vehicle that sent lately. They are in memory: a
// restart forgets debts, and debits again what was not committed.
type quotas struct {
	common Quota
	urgent Quota
	idle   time.Duration
	seed   maphash.Seed
	shards [quotaShards]quotaShard
}

type quotaShard struct {
	mu       sync.Mutex // guards the rest
	accounts map[protocol.VehicleID]*account
	swept    time.Time
	_        [24]byte // a cache line of its own
}

// account is what a vehicle may send now. Its time never goes back, whatever times it is given.
type account struct {
	common, urgent bucket
	at             time.Time
}

// bucket holds the tokens left. Only those of samples may be negative.
type bucket struct {
	messages, bytes, samples float64
}

func (b *bucket) refill(q *Quota, seconds float64) {
	b.messages = min(b.messages+seconds*q.Messages, q.MessagesBurst)
	b.bytes = min(b.bytes+seconds*q.Bytes, q.BytesBurst)
	b.samples = min(b.samples+seconds*q.Samples, q.SamplesBurst)
}

func (b *bucket) take(size int) bool {
	if b.messages < 1 || b.bytes < float64(size) || b.samples < 0 {
		return false
	}
	b.messages--
	b.bytes -= float64(size)
	return true
}

func newQuotas(q Quota) *quotas {
	s := &quotas{common: q, urgent: q.urgent(), idle: q.idle(), seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].accounts = make(map[protocol.VehicleID]*account)
	}
	return s
}

// take says whether the vehicle may send a message of this size at now, and if
// so counts it. A clock that goes back refills nothing, then or later.
func (s *quotas) take(vid protocol.VehicleID, urgent bool, size int, now time.Time) bool {
	shard, a := s.account(vid, now)
	defer shard.mu.Unlock()
	return urgent && a.urgent.take(size) || a.common.take(size)
}

// debit takes samples that the vehicle has sent, however few it has left; fewer than zero
// are given back to the common share. Urgent ones come from their own share, then from the
// common one, and are then a debt of both, paid off by both at the same time.
func (s *quotas) debit(vid protocol.VehicleID, urgent bool, samples int, now time.Time) {
	shard, a := s.account(vid, now)
	defer shard.mu.Unlock()
	n := float64(samples)
	if urgent && n > 0 {
		n -= a.urgent.spend(n)
		n -= a.common.spend(n)
		part := n * s.common.Urgent / (1 + s.common.Urgent)
		a.urgent.owe(part, &s.urgent)
		n -= part
	}
	a.common.owe(n, &s.common)
}

// spend takes up to n samples from those left, and says how many.
func (b *bucket) spend(n float64) float64 {
	n = max(0, min(n, b.samples))
	b.samples -= n
	return n
}

// owe takes n samples, also beyond those left.
func (b *bucket) owe(n float64, q *Quota) {
	b.samples = min(max(b.samples-n, -maxDebt*q.Samples), q.SamplesBurst)
}

// account finds or makes the vehicle's account as of now, and locks its shard.
func (s *quotas) account(vid protocol.VehicleID, now time.Time) (*quotaShard, *account) {
	shard := &s.shards[maphash.String(s.seed, string(vid))%quotaShards]
	shard.mu.Lock()
	a := shard.accounts[vid]
	if a == nil {
		shard.sweep(now, s.idle)
		a = &account{at: now}
		a.common.refill(&s.common, 1e12)
		a.urgent.refill(&s.urgent, 1e12)
		shard.accounts[vid] = a
	}
	if passed := now.Sub(a.at).Seconds(); passed > 0 {
		a.common.refill(&s.common, passed)
		a.urgent.refill(&s.urgent, passed)
		a.at = now
	}
	return shard, a
}

// forget drops the vehicle's account.
func (s *quotas) forget(vid protocol.VehicleID) {
	shard := &s.shards[maphash.String(s.seed, string(vid))%quotaShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.accounts, vid)
}

// sweep forgets the accounts that are full again. It runs at most once in an idle
// time, when a vehicle turns up that has none.
func (s *quotaShard) sweep(now time.Time, idle time.Duration) {
	if now.Sub(s.swept) < idle {
		return
	}
	s.swept = now
	for vid, a := range s.accounts {
		if now.Sub(a.at) >= idle {
			delete(s.accounts, vid)
		}
	}
}

// len is the number of accounts kept.
func (s *quotas) len() (n int) {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += len(s.shards[i].accounts)
		s.shards[i].mu.Unlock()
	}
	return n
}
