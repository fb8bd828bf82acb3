package config

import (
	"sync"
	"time"

	"telltale.dev/protocol/document"
)

// Bounds of answers, per document. A cloud, or who poses as one, may send documents as
// fast as the link carries them, and each answer takes place in the buffer until it is
// sent: beyond answersAtOnce only the newest is kept, every answerInterval.
const (
	answersAtOnce  = 16
	answerInterval = 10 * time.Second
)

// answers hands the answers about one document on, the newest last, in bounded number.
type answers struct {
	report func([]document.Result) error

	mu      sync.Mutex // guards what follows
	left    float64    // answers that may be given at once
	filled  time.Time
	waiting []document.Result // the newest answer, while it waits
	timer   *time.Timer       // runs while an answer waits
	closed  bool
}

func newAnswers(report func([]document.Result) error) *answers {
	return &answers{report: report, left: answersAtOnce, filled: time.Now()}
}

// give reports now, or later when there were too many. An error of a later report is
// told to failed.
func (a *answers) give(results []document.Result, failed func(error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.left = min(a.left+float64(now.Sub(a.filled))/float64(answerInterval), answersAtOnce)
	a.filled = now
	if a.left >= 1 && a.timer == nil {
		a.left--
		return a.report(results)
	}
	a.waiting = results
	if a.timer == nil && !a.closed {
		a.timer = time.AfterFunc(answerInterval, func() { a.late(failed) })
	}
	return nil
}

// late gives the answer that waits. Answers that come meanwhile wait, too, so that the newest stays the last.
func (a *answers) late(failed func(error)) {
	a.mu.Lock()
	results := a.waiting
	a.waiting = nil
	a.left = max(a.left-1, 0)
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return
	}
	if err := a.report(results); err != nil {
		failed(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = nil
	if a.waiting != nil && !a.closed {
		a.timer = time.AfterFunc(answerInterval, func() { a.late(failed) })
	}
}

// close forgets the answer that waits: the document comes again after a restart, and is answered then.
func (a *answers) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
