package broker

import (
	"math"
	"sync"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/topics"
)

// presenceEvent is a presence to be told to the handler.
type presenceEvent struct {
	publish  Publish // as it was said, with the client that said it
	presence protocol.Presence
	arrival  uint64 // order within the connection; see endArrival
	unseen   bool   // the handler has not had it as a Publish: a will, or what the broker says itself
}

// endArrival puts the end of a connection after everything else of it: a birth that
// is accepted only after that no longer counts.
const endArrival = math.MaxUint64

// presenceBook calls Handler.Presence in order for each device. What a connection
// said counts while no newer connection of the device is there; what was accepted
// before that is told before anything of the newer one.
//
// Presence follows the connection, not only words: a connection that ends while
// the last word of its device is "online" makes the device offline or lost, see end.
//
// Bounds, for each device: maxPresences events wait, and a device that says more
// than presenceBurst at once is told of every presenceInterval, its newest word only.
// Nothing is refused for it, so that the last word always comes through.
type presenceBook struct {
	handler Handler
	running sync.WaitGroup // one for each queue at work
	hurry   chan struct{}  // closed at the end of the broker: no more waiting

	mu     sync.Mutex // guards what follows
	queues map[string]*presenceQueue
}

// presenceQueue holds the events of one device that wait for the handler, in order.
type presenceQueue struct {
	newest  uint64 // number of the newest connection
	arrived uint64 // highest arrival among its events so far
	last    presenceEvent
	waiting []presenceEvent
	atWork  bool
	over    bool // the session is gone: forget the queue when it is empty

	burst    float64 // events that may be told at once
	refilled time.Time
}

func (b *presenceBook) init(h Handler) {
	b.handler = h
	b.hurry = make(chan struct{})
	b.queues = make(map[string]*presenceQueue)
}

// connect notes a new connection of the device: what older ones say from now on no
// longer counts. due is the will of the connection before, when the new one makes it due; or nil.
func (b *presenceBook) connect(key string, connection uint64, due *presenceEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queues[key]
	if queue == nil {
		queue = &presenceQueue{burst: presenceBurst, refilled: time.Now()}
		b.queues[key] = queue
	}
	queue.over = false
	if connection <= queue.newest { // a newer one of two at once was faster
		return
	}
	if due != nil {
		b.push(key, queue, *due)
	}
	queue.newest, queue.arrived = connection, 0
}

// end says that a connection has ended without a will to come: a device whose last
// word was "online" is now what state says. Words of that connection that are
// accepted later no longer count.
func (b *presenceBook) end(key string, connection uint64, state protocol.PresenceState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queues[key]
	if queue == nil || queue.newest != connection {
		return
	}
	queue.arrived = endArrival
	if queue.last.presence.State == protocol.PresenceOnline {
		b.push(key, queue, instead(queue.last, state))
	}
}

// instead is what the broker says in the name of a device that left without a word.
func instead(said presenceEvent, state protocol.PresenceState) presenceEvent {
	p := said.presence
	p.State, p.At, p.WakesAt = state, 0, 0 // of the vehicle's clock nothing is known
	payload, err := document.Marshal(p)
	if err != nil {
		payload = nil // cannot be: it was read from CBOR
	}
	topic := topics.Topic{Kind: topics.Presence, Vehicle: said.publish.Client.Vehicle, Device: said.publish.Client.Device}
	return presenceEvent{
		presence: p, arrival: endArrival, unseen: true,
		publish: Publish{
			Client: said.publish.Client, Topic: topic, Retain: true, QoS: 1,
			Payload: payload, ContentType: protocol.ContentPresence,
		},
	}
}

// forget drops the queue of a device whose session is gone, unless a connection
// newer than the given one is there.
func (b *presenceBook) forget(key string, connection uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queues[key]
	if queue == nil || queue.newest > connection {
		return
	}
	queue.over = true
	if !queue.atWork && len(queue.waiting) == 0 {
		delete(b.queues, key)
	}
}

// post queues an event, if it still counts.
func (b *presenceBook) post(key string, e presenceEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queues[key]
	if queue == nil || queue.newest != e.publish.Client.Connection || e.arrival < queue.arrived {
		return
	}
	b.push(key, queue, e)
}

// push appends an event, or lets it take the place of the last one that waits when
// too many do. The caller holds mu.
func (b *presenceBook) push(key string, queue *presenceQueue, e presenceEvent) {
	queue.arrived, queue.last = e.arrival, e
	queue.last.publish = Publish{Client: e.publish.Client} // the rest would keep the packet that it came in
	queue.refill(time.Now())
	if n := len(queue.waiting); n >= maxPresences || n > 0 && queue.burst < 1 {
		queue.waiting[n-1] = e
		return
	}
	queue.waiting = append(queue.waiting, e)
	if !queue.atWork {
		queue.atWork = true
		b.running.Go(func() { b.work(key, queue) })
	}
}

func (l *presenceQueue) refill(now time.Time) {
	if passed := now.Sub(l.refilled); passed > 0 {
		l.burst = min(l.burst+float64(passed)/float64(presenceInterval), presenceBurst)
		l.refilled = now
	}
}

// work empties a queue.
func (b *presenceBook) work(key string, queue *presenceQueue) {
	for {
		e, ok, wait := b.next(key, queue)
		switch {
		case ok:
			b.tell(e)
		case wait > 0:
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-b.hurry:
				timer.Stop()
			}
		default:
			return
		}
	}
}

// next takes the event that is told next. Without one it says how long to wait; 0: there is none.
func (b *presenceBook) next(key string, queue *presenceQueue) (e presenceEvent, ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(queue.waiting) == 0 {
		queue.atWork, queue.waiting = false, nil
		if queue.over {
			delete(b.queues, key)
		}
		return presenceEvent{}, false, 0
	}
	queue.refill(time.Now())
	select {
	case <-b.hurry:
	default:
		if queue.burst < 1 {
			return presenceEvent{}, false, max(time.Duration((1-queue.burst)*float64(presenceInterval)), time.Millisecond)
		}
		queue.burst--
	}
	e = queue.waiting[0]
	queue.waiting = queue.waiting[1:]
	return e, true, 0
}

// tell hands one event to the handler. Whether what nobody published can be stored
// makes no difference: the connection has ended all the same.
func (b *presenceBook) tell(e presenceEvent) {
	if e.unseen {
		e.publish.Received = time.Now()
		b.handler.Publish(e.publish, func(byte) {})
	}
	b.handler.Presence(e.publish, e.presence)
}

// wait returns when all queues are empty. Nothing is posted any more.
func (b *presenceBook) wait() {
	close(b.hurry)
	b.running.Wait()
}
