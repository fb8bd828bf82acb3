package lake

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale.dev/hal/durable"
)

// chain is what the checkpoint of a stream consists of, without what the ledger says.
type chain struct {
	base  link
	links []link // in order, each after the one before
}

// end is the newest link, or the base.
func (c *chain) end() link {
	if n := len(c.links); n > 0 {
		return c.links[n-1]
	}
	return c.base
}

// bytes is the size of the links.
func (c *chain) bytes() (n int64) {
	for _, k := range c.links {
		n += k.size
	}
	return n
}

// found is what readChain finds beside the chain that it can use.
type found struct {
	found  bool   // there is a base
	done   []link // links that the base covers: a fold was interrupted
	broken []link // the first link that cannot be read or joined to the one before, and all behind it
	reason error  // why it cannot; it wraps ErrCheckpoint
}

// readChain reads the chain as far as it goes.
func (l *Lake) readChain() (f found, err error) {
	named, err := l.listLinks()
	if err != nil {
		return f, err
	}
	base, err := l.readFile(l.checkpointName())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.broken = named
		return f, nil
	case errors.Is(err, ErrCheckpoint):
		return f, fmt.Errorf("%w: put a copy of it back, with those of its links", err)
	case err != nil:
		return f, err
	}
	base.ledger = nil
	l.chain, f.found = chain{base: base}, true
	for i, name := range named {
		if name.last <= base.last {
			f.done = append(f.done, name)
			continue
		}
		k, err := l.join(name)
		switch {
		case errors.Is(err, ErrCheckpoint):
			f.broken, f.reason = named[i:], err
			return f, nil
		case err != nil:
			return f, err
		}
		k.ledger = nil
		l.chain.links = append(l.chain.links, k)
	}
	return f, nil
}

// join reads a link that must follow the chain's end.
func (l *Lake) join(named link) (link, error) {
	if end := l.chain.end(); named.after != end.last {
		return link{}, fmt.Errorf("%s: expected a link after message %d before it: %w", l.linkName(named), end.last, ErrCheckpoint)
	}
	return l.readLink(named)
}

// listLinks lists the links of the stream by their names, in order.
func (l *Lake) listLinks() (out []link, err error) {
	files, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if k, ok := l.parseLink(f.Name()); ok {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b link) int { return cmp.Or(cmp.Compare(a.after, b.after), cmp.Compare(a.last, b.last)) })
	return out, nil
}

// asideSuffix is put behind the names of links that cannot be used. Nobody reads them again.
const asideSuffix = ".aside"

// setAside gives up the broken end of the chain: what it covered is read again from the stream, as after
// a crash before those commits. When the stream cannot give it any more, nothing is touched.
func (l *Lake) setAside(broken []link, reason error) error {
	end := l.chain.end()
	if end.next < l.cfg.Oldest {
		return fmt.Errorf("%w; the stream has no more all that came from message %d on: put a copy of it back, or move it, the links after it and the parts beyond message %d away, whose rows are lost then",
			reason, end.next, end.last)
	}
	for _, k := range slices.Backward(broken) {
		name := filepath.Join(l.cfg.Dir, l.linkName(k))
		if err := os.Rename(name, name+asideSuffix); err != nil {
			return err
		}
	}
	l.cfg.Log.Error("the checkpoint's end cannot be read: it is set aside, and the stream is read again from there",
		"stream", l.cfg.Stream, "err", reason, "links", len(broken), "message", end.next)
	return durable.SyncFolder(l.cfg.Dir)
}

// removeLinks deletes links that a base covers.
func (l *Lake) removeLinks(links []link) error {
	for _, k := range links {
		if err := os.Remove(filepath.Join(l.cfg.Dir, l.linkName(k))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(links) == 0 {
		return nil
	}
	return durable.SyncFolder(l.cfg.Dir)
}

// unfinished says whether a file in .tmp is one of this stream's.
func (l *Lake) unfinished(name string) bool {
	return name == l.checkpointName() || strings.HasPrefix(name, l.checkpointName()+".") || strings.HasPrefix(name, l.tmpPrefix())
}

// Checkpoint is the stream position that the files hold everything up to, and what the commits were given, in
// their order: the first may be many of them folded, and there is none in a new lake. It reads the files.
func (l *Lake) Checkpoint() (last uint64, ledgers [][]byte, err error) {
	l.waitFold()
	end, ledgers, err := l.readLedgers(l.chain.links)
	if err != nil {
		return 0, nil, fmt.Errorf("lake: stream %s: %w", l.cfg.Stream, err)
	}
	return end.last, ledgers, nil
}

// readLedgers reads the base and the links that it does not cover, and gives what the commits were given and
// what a base of all of them says beside that. A fold that went wrong leaves links in the chain that its base covers.
func (l *Lake) readLedgers(links []link) (end link, ledgers [][]byte, err error) {
	end, err = l.readFile(l.checkpointName())
	if err != nil {
		return end, nil, err
	}
	if len(end.ledger) > 0 {
		ledgers = append(ledgers, end.ledger)
	}
	for _, named := range links {
		if named.last <= end.last {
			continue
		}
		k, err := l.readLink(named)
		if err != nil {
			return end, nil, err
		}
		ledgers = append(ledgers, k.ledger)
		end.last, end.next = k.last, k.next
	}
	return end, ledgers, nil
}
