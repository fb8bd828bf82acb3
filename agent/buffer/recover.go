package buffer

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"telltale.dev/protocol"
)

// keptCorrupt is how many files set aside are kept for a person to look at; they do not count in MaxBytes.
const keptCorrupt = 8

// image is what a directory says.
type image struct {
	accounts accounts
	byClass  [protocol.Priorities + 1]segmentList
	gone     []*segment // evicted or withdrawn as a whole: to be unlinked
	corrupt  []segmentID
	short    []*segment // that miss their last commit
	leftover []string   // base names of files that were never committed
	aside    []string   // base names of files set aside earlier
	losses   []item
	notes    map[segmentID]note
}

// readImage reads a directory without changing it.
func readImage(dir string) (*image, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	m := &image{}
	var files []*loaded
	for _, e := range entries {
		name := e.Name()
		id, ok := parseFile(strings.TrimSuffix(name, suffixCorrupt))
		switch {
		case strings.HasSuffix(name, suffixNew):
			m.leftover = append(m.leftover, name)
		case name == versionFile+suffixCorrupt:
			m.aside = append(m.aside, name)
			continue
		case !ok:
			continue
		case strings.HasSuffix(name, suffixCorrupt):
			m.aside = append(m.aside, name)
		default:
			l, err := loadFile(dir, id)
			if lacking(err) {
				return nil, plain(err)
			}
			if err != nil {
				m.corrupt = append(m.corrupt, id)
			} else {
				files = append(files, l)
			}
		}
		m.accounts.next[id.class] = max(m.accounts.next[id.class], id.number)
	}
	m.assemble(files)
	m.search(dir)
	return m, nil
}

// lacking tells errors that say nothing about the file.
func lacking(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// assemble puts the files' words together.
func (m *image) assemble(files []*loaded) {
	m.withdrawIncomplete(files)
	m.newestAccounts(files)
	slices.SortFunc(files, func(x, y *loaded) int {
		return cmp.Or(cmp.Compare(x.id.class, y.id.class), cmp.Compare(x.id.number, y.id.number))
	})
	for _, l := range files {
		m.accounts.gen = max(m.accounts.gen, l.last.gen)
		n := m.notes[l.id]
		s := &segment{id: l.id, void: n.void, promoted: n.promoted, acked: n.acked, bytes: l.bytes, damaged: l.lost > 0}
		if n.void != 0 && n.void == l.last.gen && l.void == 0 {
			l.withdraw()
		}
		if l.void != 0 {
			s.void = l.void
		}
		if n.gone || s.void != 0 && s.void == l.last.gen && l.last.fresh {
			m.gone = append(m.gone, s)
			continue
		}
		m.byClass[l.id.class] = append(m.byClass[l.id.class], s)
	}
	for _, l := range files {
		if s := m.byClass[l.id.class].find(l.id.number); s != nil {
			m.fill(s, l)
		}
	}
}

// withdrawIncomplete takes back the parts of the one commit that may have been
// interrupted between its files. When a file is damaged its word may be the
// one that is missing, so nothing is taken back then.
func (m *image) withdrawIncomplete(files []*loaded) {
	decided := uint64(0)
	damaged := len(m.corrupt) > 0
	for _, l := range files {
		damaged = damaged || l.lost > 0
		if l.last.decisive {
			decided = max(decided, l.last.gen)
		}
		for _, a := range l.accounts {
			if a.gen != l.last.gen {
				decided = max(decided, a.gen)
			}
		}
	}
	for _, l := range files {
		if !damaged && !l.last.decisive && l.last.gen > decided {
			l.withdraw()
			l.void = l.last.gen
		}
	}
}

// newestAccounts takes each account from the highest generation that has it.
func (m *image) newestAccounts(files []*loaded) {
	newest := map[string]account{}
	for _, l := range files {
		for key, a := range l.accounts {
			if old, ok := newest[key]; !ok || a.gen > old.gen {
				newest[key] = a
			}
			m.accounts.gen = max(m.accounts.gen, a.gen)
		}
	}
	m.notes = map[segmentID]note{}
	next := m.accounts.next
	if a, ok := newest[keyState]; ok {
		list, err := m.accounts.parseState(a.body)
		if err != nil { // cannot be: the checksum was right
			list = nil
		}
		for _, n := range list {
			m.notes[n.id] = n
		}
	}
	for i := range next {
		m.accounts.next[i] = max(m.accounts.next[i], next[i])
	}
	if a, ok := newest[keyBoots]; ok {
		boots, _ := parseBoots(a.body)
		m.accounts.boots = slices.DeleteFunc(boots, func(p Progress) bool { return p.Boot == m.accounts.current.Boot })
	}
	if a, ok := newest[keyEvicted]; ok {
		m.accounts.evicted, _ = parseEvicted(a.body)
	}
	if a, ok := newest[keyPurged]; ok {
		_ = m.accounts.parsePurged(a.body) // it cannot be wrong: the checksum was right
	}
}

// promote makes records of the surviving checkpoints of a segment, but for those that were purged.
func (m *image) promote(s *segment, l *loaded) {
	for _, v := range l.survivors() {
		if slices.Contains(m.accounts.purgedOpen, purgedOpen{s.id, [checkpointKey]byte(v.key)}) {
			continue
		}
		s.promoted = true
		s.virtual = append(s.virtual, v.key)
		l.items = append(l.items, v.item)
	}
}

// outdates says whether a segment was made after s and is gone with all that was in it, so that the checkpoints of s are
// outdated. A later segment that is still there, but too damaged to be read, does not count: the checkpoints of s are
// then all that is left. newest is the end of the newest segment ever made in the class.
func (m *image) outdates(newest end, s *segment) bool {
	return newest.number > s.id.number && !slices.Contains(m.corrupt, segmentID{class: s.id.class, number: newest.number})
}

// fill gives a segment its records. In the newest segment of a class the
// surviving checkpoints become records, and stay so. When there was a later segment, which
// went with all that was in it, those of this one were outdated long before. When the later
// one is unreadable they are all that is left of the open batches.
func (m *image) fill(s *segment, l *loaded) {
	s.base = len(l.items)
	newest := s == m.byClass[s.id.class].newest()
	end := m.accounts.ends[s.id.class]
	if l.half && !newest && s.void == 0 || newest && end.number == s.id.number && end.records > uint64(s.base) && s.void == 0 {
		m.short = append(m.short, s)
	}
	if s.promoted || newest && !m.outdates(end, s) {
		m.promote(s, l)
	}
	for i := range l.emptied.first {
		s.acked = s.acked.with(i)
	}
	s.extend(l.items)
	for i, it := range l.items {
		if it.lost && s.ack(i) {
			m.losses = append(m.losses, it)
		}
	}
}

// recover takes over what is in the directory.
func (b *Buffer) recover() error {
	m, err := readImage(b.dir)
	if err != nil {
		return err
	}
	b.byClass, b.losses, b.unreadable = m.byClass, m.losses, slices.Clone(m.corrupt)
	m.accounts.room = pendingRoom(b.step)
	m.accounts.trim()
	b.sayUndeclared(m.accounts.undeclared)
	b.accounts = m.accounts
	b.accounts.changedBoots, b.accounts.changedEvicted, b.accounts.changedPurged = true, true, true
	b.stats.SetAside = uint64(len(m.aside))
	for _, s := range m.gone {
		b.tombs = append(b.tombs, tomb{seg: s})
	}
	for class := range b.byClass {
		b.retire(protocol.Priority(class))
	}
	for _, name := range m.leftover {
		path := filepath.Join(b.dir, name)
		if b.adopt(path) {
			continue
		}
		if err := b.ops.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
	}
	for _, l := range b.byClass {
		for _, s := range l {
			if s.damaged {
				b.log.Warn("damaged buffer segment", "file", s.id.file())
			}
		}
	}
	b.touched++ // promotions, withdrawals and losses go with the first commit
	b.sweep()
	b.setAside(m)
	return nil
}

// setAside renames corrupt files, after the accounts know what was lost with
// them. When there is no room for the accounts, the files stay for the next start.
func (b *Buffer) setAside(m *image) {
	if len(m.losses) > 0 {
		b.log.Warn("records lost to damage in buffer", "records", len(m.losses))
	}
	if len(m.corrupt) == 0 {
		return
	}
	if err := b.Flush(); err != nil {
		b.log.Warn("corrupt buffer segments stay for now", "files", len(m.corrupt), "error", err)
		return
	}
	for _, id := range m.corrupt {
		path := filepath.Join(b.dir, id.file())
		if err := b.ops.rename(path, path+suffixCorrupt); err != nil {
			b.log.Warn("set buffer segment aside", "file", id.file(), "error", plain(err))
			continue
		}
		b.log.Warn("corrupt buffer segment set aside", "file", id.file()+suffixCorrupt)
		b.mu.Lock()
		b.stats.SetAside++
		b.unreadable = slices.DeleteFunc(b.unreadable, func(o segmentID) bool { return o == id })
		b.mu.Unlock()
	}
	b.prune(m.aside)
}

// prune removes the oldest of the files set aside earlier when there are too many.
func (b *Buffer) prune(aside []string) {
	age := func(name string) int64 {
		info, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(aside, func(x, y string) int { return cmp.Compare(age(x), age(y)) })
	for _, name := range aside[:max(0, len(aside)-keptCorrupt)] {
		if err := b.ops.remove(filepath.Join(b.dir, name)); err != nil {
			b.log.Warn("remove old corrupt buffer segment", "file", name, "error", plain(err))
		}
	}
}
