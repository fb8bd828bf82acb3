package ingest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxDeadTries is how often a dead letter is offered to a stream that is full.
// Beyond it the letter is given up and counted: one vehicle's garbage must not
// stop everybody's data. Its id stays in the ledger, and its bytes stay in the
// stream as long as the stream keeps messages. For deadPause after that a letter is
// offered only once.
const (
	maxDeadTries = 4
	deadPause    = 30 * time.Second
)

// bury writes a dead letter, which is sent before anything is committed, and
// notes the id in the ledger. A replay that fails again is only counted: its
// letter is still there.
func (p *Processor) bury(ctx context.Context, m *Message, e *envelope, f *fault) {
	if e.origin != "" {
		p.stats.replayed.Add(1)
		p.cfg.Log.Info("replay failed again", "reason", f.reason, "err", f.err)
		return
	}
	id := e.id
	if id.Seq == 0 { // without the property: what the batch says, if it can be read and is the device's own
		if h, hf := openHeader(m.Data, e); hf == nil {
			id = h.ID
		}
	}
	if id.Seq != 0 {
		p.ledger.Bury(e.topic.Vehicle, id, m.Sequence)
	}
	origin := p.cfg.Name + "/" + strconv.FormatUint(m.Sequence, 10)
	if p.wrote(ctx, m.Sequence, origin) {
		return
	}
	if p.stats.dead.Add(1) == 1 {
		p.cfg.Log.Warn("first dead letter, more are only counted", "reason", f.reason, "err", f.err)
	}
	letter := p.letterOf(m, "", f)
	if id.Seq != 0 {
		letter.Header[HeaderMessage] = id.String()
	}
	p.lake.buried++
	p.letters = append(p.letters, letter)
}

// letterOf makes the dead letter of a message, for one consumer or, when that is "", for all.
func (p *Processor) letterOf(m *Message, consumer string, f *fault) Message {
	h := make(map[string]string, len(m.Header)+6)
	maps.Copy(h, m.Header)
	h[HeaderReason] = string(f.reason)
	h[HeaderDetail] = oneLine(f.err.Error())
	h[HeaderSubject] = m.Subject
	if consumer != "" {
		h[HeaderConsumer] = consumer
	}
	if h[HeaderOrigin] == "" {
		h[HeaderOrigin] = p.cfg.Name + "/" + strconv.FormatUint(m.Sequence, 10)
	}
	return Message{Subject: "dead." + p.cfg.Name + "." + string(f.reason), Header: h, Data: m.Data}
}

// writeLetter writes one letter and waits until it is on disk.
func (p *Processor) writeLetter(letter Message) error {
	done := make(chan error, 1)
	p.cfg.Publisher.Publish(letter, func(_ uint64, err error) { done <- err })
	return <-done
}

// Bounds of what a crash between a dead letter and the next commit leaves to be found out.
const (
	maxBuried     = 4096    // letters between commits
	recentLetters = 1 << 16 // letters, of all streams, that are looked through after a restart
)

// wrote says whether there is a letter of this message already, from before a crash: its
// origin is its identity. Only a message that was in the stream at the start can have one.
func (p *Processor) wrote(ctx context.Context, sequence uint64, origin string) bool {
	if p.cfg.Letters == nil || sequence > p.ended {
		return false
	}
	if p.written == nil {
		p.written = make(map[string]struct{})
		_ = p.retry(ctx, &p.reading, "dead letters cannot be read", func() error { return p.readLetters(ctx) })
	}
	_, ok := p.written[origin]
	return ok
}

// readLetters collects the origins of the letters that this processor wrote since its last commit.
func (p *Processor) readLetters(ctx context.Context) error {
	last, err := p.cfg.Letters.Last(ctx)
	if err != nil {
		return err
	}
	next := max(1, last-min(last, recentLetters))
	for idle := 0; next <= last; {
		if idle == idleReads {
			return ended(ctx, p.cfg.Letters, next, last)
		}
		letters, err := p.cfg.Letters.Read(ctx, next, readMessages, p.cfg.Poll)
		if err != nil {
			return err
		}
		if idle++; len(letters) > 0 {
			idle = 0
			next = letters[len(letters)-1].Sequence + 1
		}
		for i := range letters {
			origin := letters[i].Header[HeaderOrigin]
			stream, at, _ := strings.Cut(origin, "/")
			sequence, err := strconv.ParseUint(at, 10, 64)
			if err == nil && stream == p.cfg.Name && letters[i].Header[HeaderConsumer] == "" && sequence > p.committed.Load() {
				p.written[origin] = struct{}{}
			}
		}
	}
	return nil
}

// oneLine makes an error fit a header: printable ASCII, at most maxDetail bytes.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), maxDetail)])
}

// sendLetters puts the dead letters at hand on disk, all at once. Those that are
// left when it returns are there because ctx ended.
func (p *Processor) sendLetters(ctx context.Context) {
	tries := maxDeadTries
	if time.Since(p.deadFull) < deadPause {
		tries = 1
	}
	for try := 1; len(p.letters) > 0; try++ {
		errs := p.publishLetters()
		full := error(nil)
		left := p.letters[:0]
		for i, err := range errs {
			if err == nil {
				continue
			}
			if errors.Is(err, ErrFull) && try >= tries {
				p.stats.deadLost.Add(1)
				full = err
				continue
			}
			left = append(left, p.letters[i])
		}
		clear(p.letters[len(left):])
		p.letters = left
		if full != nil {
			p.deadFull = time.Now()
			p.cfg.Log.Warn("dead letters given up", "err", full, "total", p.stats.deadLost.Load())
		}
		if len(left) > 0 && !sleep(ctx, min(retryMin<<min(try-1, 16), retryMax)) {
			return
		}
	}
}

// publishLetters publishes all letters and waits for the answers.
func (p *Processor) publishLetters() []error {
	errs := make([]error, len(p.letters))
	var wait sync.WaitGroup
	wait.Add(len(p.letters))
	for i := range p.letters {
		p.cfg.Publisher.Publish(p.letters[i], func(_ uint64, err error) {
			errs[i] = err
			wait.Done()
		})
	}
	wait.Wait()
	return errs
}
