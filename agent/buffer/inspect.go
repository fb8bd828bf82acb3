package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"telltale.dev/protocol"
)

// Report is what the buffer of a stopped agent holds.
type Report struct {
	Boots    []Progress // oldest first
	Waiting  Waiting    // records that the next start would deliver, with surviving checkpoints
	Classes  [protocol.Priorities + 1]Waiting
	ByBoot   map[protocol.BootID]Waiting // by the boot in their IDs
	Evicted  []protocol.SeqRange         // not yet declared
	Counts   Counts
	SetAside int // corrupt files
}

// Inspect reads the directory of an agent that is not running, and changes
// nothing. The error wraps ErrLocked when the agent runs, ErrVersion, or
// fs.ErrNotExist.
func Inspect(dir string) (Report, error) {
	version, err := checkVersion(dir)
	if version == versionNone || errors.Is(err, fs.ErrNotExist) {
		return Report{}, fmt.Errorf("buffer: %s: %w", versionFile, fs.ErrNotExist)
	}
	if err != nil {
		return Report{}, err
	}
	lock, err := lockDir(dir, true)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close() //nolint:errcheck // only held
	m, err := readImage(dir)
	if err != nil {
		return Report{}, err
	}
	r := m.report()
	if version == versionDamaged {
		r.SetAside++ // the next Open will
	}
	return r, nil
}

func (m *image) report() Report {
	for i := range m.losses {
		m.accounts.lose(&m.losses[i])
	}
	m.accounts.gather()
	r := Report{
		Boots: m.accounts.all(), Evicted: slices.Clone(m.accounts.evicted), Counts: m.accounts.counts,
		SetAside: len(m.aside) + len(m.corrupt), ByBoot: map[protocol.BootID]Waiting{},
	}
	for class, l := range m.byClass {
		for _, s := range l {
			r.Classes[class].plus(s.waiting)
			s.pending(0, func(_ int, it *item) bool {
				w := r.ByBoot[it.id.Boot]
				w.add(it)
				r.ByBoot[it.id.Boot] = w
				return true
			})
		}
		r.Waiting.plus(r.Classes[class])
	}
	return r
}
