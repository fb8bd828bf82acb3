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
// lane as long as the lane keeps messages. For deadPause after that a letter is
// offered only once.
const (
	maxDeadTries = 4
	deadPause    = 30 * time.Second
)

// bury writes a dead letter, which is sent before anything is committed, and
// notes the id in the ledger. A replay that fails again is only counted: its
// letter is still there.
func (p *Processor) bury(m *Message, e *envelope, f *fault) {
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
	if p.stats.dead.Add(1) == 1 {
		p.cfg.Log.Warn("first dead letter, more are only counted", "reason", f.reason, "err", f.err)
	}
	h := make(map[string]string, len(m.Header)+4)
	maps.Copy(h, m.Header)
	h[HeaderReason] = string(f.reason)
	h[HeaderDetail] = oneLine(f.err.Error())
	h[HeaderSubject] = m.Subject
	h[HeaderOrigin] = p.cfg.Name + "/" + strconv.FormatUint(m.Sequence, 10)
	p.letters = append(p.letters, Message{Subject: "dead." + p.cfg.Name + "." + string(f.reason), Header: h, Data: m.Data})
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
