package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telltale.dev/hal/durable"
)

const (
	partPrefix = "part-"
	partSuffix = ".parquet"
	datePrefix = "date="
)

func partName(stream string, first, last uint64) string {
	return partPrefix + stream + "-" + strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(last, 10) + partSuffix
}

// ParsePart reads the name of a part: its stream and the range of messages whose
// rows it holds. It gives ok false for any other name.
func ParsePart(name string) (stream string, first, last uint64, ok bool) {
	middle, ok1 := strings.CutPrefix(name, partPrefix)
	middle, ok2 := strings.CutSuffix(middle, partSuffix)
	fields := strings.Split(middle, "-")
	if !ok1 || !ok2 || len(fields) != 3 || !validStream(fields[0]) {
		return "", 0, 0, false
	}
	first, err1 := strconv.ParseUint(fields[1], 10, 64)
	last, err2 := strconv.ParseUint(fields[2], 10, 64)
	if err1 != nil || err2 != nil || first == 0 || last < first || partName(fields[0], first, last) != name {
		return "", 0, 0, false
	}
	return fields[0], first, last, true
}

// DateDir names the folder of a sample's UTC date.
func DateDir(t time.Time) string { return datePrefix + t.UTC().Format(time.DateOnly) }

func validStream(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// recover brings the folder to the state of the last commit.
func (l *Lake) recover() error {
	chained, err := l.readChain()
	if err != nil {
		return err
	}
	l.last = l.chain.end().last
	beyond, some, err := l.partsBeyond()
	if err != nil {
		return err
	}
	if !chained.found && (some || len(chained.broken) > 0) {
		// A commit writes parts before the checkpoint, so a new lake gets one at
		// once: parts without a checkpoint mean that somebody lost it.
		return fmt.Errorf("%s is missing beside its parts: put it back, or move the parts and what begins with its name away: %w", l.checkpointName(), ErrCheckpoint)
	}
	if len(chained.broken) > 0 {
		if err := l.setAside(chained.broken, chained.reason); err != nil {
			return err
		}
	}
	if len(beyond) > 0 && l.chain.end().next < l.cfg.Oldest {
		return fmt.Errorf("%s is older than its parts, and the stream has no more what came after it: put the newest one back, or move the parts beyond message %d away: %w",
			l.checkpointName(), l.last, ErrCheckpoint)
	}
	if err := l.removeUnfinished(); err != nil {
		return err
	}
	if !chained.found {
		l.chain.base = link{next: 1}
		return l.writeFile(l.checkpointName(), kindBase, &l.chain.base)
	}
	if err := errors.Join(l.remove(beyond), l.removeLinks(chained.done)); err != nil {
		return err
	}
	if n := l.nRemoved.Load(); n > 0 {
		l.cfg.Log.Info("uncommitted files removed", "stream", l.cfg.Stream, "files", n, "checkpoint", l.last)
	}
	return nil
}

// partsBeyond lists the stream's parts that the checkpoint does not cover, as
// date/name, and says whether there are parts of the stream at all.
func (l *Lake) partsBeyond() (beyond []string, some bool, err error) {
	dates, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, false, err
	}
	for _, date := range dates {
		if !date.IsDir() || !strings.HasPrefix(date.Name(), datePrefix) {
			continue
		}
		files, err := os.ReadDir(filepath.Join(l.cfg.Dir, date.Name()))
		if err != nil {
			return nil, false, err
		}
		for _, f := range files {
			stream, first, last, ok := ParsePart(f.Name())
			if !ok || stream != l.cfg.Stream {
				continue
			}
			some = true
			if last <= l.last {
				continue
			}
			if first <= l.last {
				return nil, true, fmt.Errorf("%s begins before checkpoint %d and ends after it: %w", f.Name(), l.last, ErrCheckpoint)
			}
			beyond = append(beyond, filepath.Join(date.Name(), f.Name()))
		}
	}
	return beyond, some, nil
}

// remove deletes parts and syncs their folders: a deletion undone by a power cut
// would bring rows back that a later part holds too.
func (l *Lake) remove(parts []string) error {
	dirs := map[string]bool{}
	for _, p := range parts {
		if err := os.Remove(filepath.Join(l.cfg.Dir, p)); err != nil {
			return err
		}
		dirs[filepath.Dir(p)] = true
		l.nRemoved.Add(1)
	}
	for d := range dirs {
		if err := durable.SyncFolder(filepath.Join(l.cfg.Dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// removeUnfinished deletes this stream's files in the making.
func (l *Lake) removeUnfinished() error {
	files, err := os.ReadDir(filepath.Join(l.cfg.Dir, tmpDir))
	if err != nil {
		return err
	}
	for _, f := range files {
		if !l.unfinished(f.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(l.cfg.Dir, tmpDir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.nRemoved.Add(1)
	}
	return nil
}

func (l *Lake) tmpPrefix() string { return partPrefix + l.cfg.Stream + "-" }
