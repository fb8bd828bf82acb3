package lake

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// When the chain is folded: its links become part of a new base, in the background and beside commits. Either
// happens once an hour or so with a commit a minute, and what is written for it is at most what the commits wrote.
const (
	foldLinks = 64      // links, so that a start reads few files
	foldBytes = 1 << 20 // or so many bytes of them, and as many as the base has
	// foldAgain is how many links more there must be to try again what went wrong.
	foldAgain = 16
)

// folding is a fold in the background. The chain that it works on stays as it is meanwhile, but for links behind.
type folding struct {
	links []link
	done  chan struct{} // closed when the two below are there
	base  link
	err   error
}

// fold begins to fold the chain when that is due, and takes over what an earlier one did.
func (l *Lake) fold() {
	if f := l.folding; f != nil {
		select {
		case <-f.done:
			l.takeFold()
		default:
			return
		}
	}
	n, size := len(l.chain.links), l.chain.bytes()
	if n < l.foldFrom || n < foldLinks && (size < foldBytes || size < l.chain.base.size) {
		return
	}
	f := &folding{links: slices.Clone(l.chain.links), done: make(chan struct{})}
	l.folding = f
	go func() {
		defer close(f.done)
		f.base, f.err = l.foldLinks(f.links)
	}()
}

// waitFold waits for the fold that is under way, if there is one.
func (l *Lake) waitFold() {
	if f := l.folding; f != nil {
		<-f.done
		l.takeFold()
	}
}

// takeFold makes the new base part of the chain. After an error the chain is as it was, on disk too: a base that
// was renamed and may not be on disk yet says the same as the links, which are there.
func (l *Lake) takeFold() {
	f := l.folding
	l.folding, l.foldFrom = nil, 0
	if errors.Is(f.err, errLarge) { // it only becomes larger
		l.foldFrom = math.MaxInt
		l.cfg.Log.Error("the checkpoint is too large to be folded: it stays as it is, and grows by a file with each commit", "stream", l.cfg.Stream, "err", f.err)
		return
	}
	if f.err != nil {
		l.foldFrom = len(l.chain.links) + foldAgain
		l.cfg.Log.Warn("the checkpoint cannot be folded; it is tried again, and grows until then", "stream", l.cfg.Stream, "err", bare(f.err))
		return
	}
	l.chain.base = f.base
	l.chain.links = slices.Delete(l.chain.links, 0, len(f.links))
}

// foldLinks writes a new base of the old one and links, and deletes the links. It uses nothing of l that
// a commit changes.
func (l *Lake) foldLinks(links []link) (link, error) {
	base, ledgers, err := l.readLedgers(links)
	if err != nil {
		return base, err
	}
	if base.ledger, err = l.cfg.Fold(ledgers...); err != nil {
		return base, fmt.Errorf("fold: %w", err)
	}
	if err := l.writeFile(l.checkpointName(), kindBase, &base); err != nil {
		return base, err
	}
	base.ledger = nil
	err = l.removeLinks(links)
	if err == nil {
		err = l.after("links removed")
	}
	return base, err
}

// newest is the fold of callers whose every commit says everything.
func newest(ledgers ...[]byte) ([]byte, error) {
	if len(ledgers) == 0 {
		return nil, nil
	}
	return ledgers[len(ledgers)-1], nil
}
