package lake

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"telltale.dev/hal/durable"
)

// The checkpoint of a stream is a chain of files: a base, and a link for each commit after it.
//
//	checkpoint-UP              the base: everything up to some message
//	checkpoint-UP-4711-5000    a link: what a commit added that came after 4711 and ends at 5000
//
// All have the same form, numbers big endian:
//
//	"TTLAKE2\n"  stream length (1), stream  after (8)  last (8)  next (8)  ledger length (8), ledger  SHA-256 of all before (32)
//
// after is 0 in a base. A base of the version before has neither after nor next, and begins with "TTLAKE1\n".
const (
	checkpointMagic  = "TTLAKE2\n"
	checkpointMagic1 = "TTLAKE1\n"
)

// maxCheckpoint bounds a file of the chain, in bytes, for each stream. What is larger is neither written nor read, so that
// no start is refused for what a commit or a fold wrote: a commit fails, and its messages stay in the stream; a fold
// leaves the links.
const maxCheckpoint = 1 << 30

// errLarge says that a file of the chain would be larger than that.
var errLarge = errors.New("larger than a file of the checkpoint may be")

// link is a file of the chain.
type link struct {
	after, last uint64 // it holds the messages after the one up to the other
	next        uint64 // the first message that is not done by then: a restart reads it first
	ledger      []byte // what the caller gave; nil when it is not needed
	size        int64  // of the file, in bytes
}

func appendCheckpoint(dst []byte, stream string, k link) []byte {
	dst = append(dst, checkpointMagic...)
	dst = append(dst, byte(len(stream)))
	dst = append(dst, stream...)
	dst = binary.BigEndian.AppendUint64(dst, k.after)
	dst = binary.BigEndian.AppendUint64(dst, k.last)
	dst = binary.BigEndian.AppendUint64(dst, k.next)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(k.ledger)))
	dst = append(dst, k.ledger...)
	sum := sha256.Sum256(dst)
	return append(dst, sum[:]...)
}

func parseCheckpoint(data []byte, stream string) (k link, err error) {
	body, ok := bytes.CutSuffix(data, data[max(0, len(data)-sha256.Size):])
	if sum := sha256.Sum256(body); !ok || !bytes.Equal(sum[:], data[len(body):]) {
		return k, fmt.Errorf("checksum differs: %w", ErrCheckpoint)
	}
	name := string([]byte{byte(len(stream))}) + stream
	numbers := [3]uint64{}
	rest, ok := bytes.CutPrefix(body, []byte(checkpointMagic+name))
	into := numbers[:]
	if !ok {
		rest, ok = bytes.CutPrefix(body, []byte(checkpointMagic1+name))
		into = numbers[1:2]
	}
	for i := 0; ok && i < len(into); i++ {
		if ok = len(rest) >= 8; ok {
			into[i], rest = binary.BigEndian.Uint64(rest), rest[8:]
		}
	}
	if !ok || len(rest) < 8 || binary.BigEndian.Uint64(rest) != uint64(len(rest)-8) {
		return k, fmt.Errorf("expected a checkpoint of this stream, version 1 or 2: %w", ErrCheckpoint)
	}
	k = link{after: numbers[0], last: numbers[1], next: numbers[2], ledger: rest[8:], size: int64(len(data))}
	if len(into) == 1 { // all up to last was in the files, but for some that nobody told
		k.next = k.last + 1
	}
	return k, nil
}

func (l *Lake) checkpointName() string { return "checkpoint-" + l.cfg.Stream }

func (l *Lake) linkName(k link) string {
	return l.checkpointName() + "-" + strconv.FormatUint(k.after, 10) + "-" + strconv.FormatUint(k.last, 10)
}

// parseLink reads the name of a link of this stream.
func (l *Lake) parseLink(name string) (k link, ok bool) {
	rest, ok := strings.CutPrefix(name, l.checkpointName()+"-")
	after, last, two := strings.Cut(rest, "-")
	var err1, err2 error
	k.after, err1 = strconv.ParseUint(after, 10, 64)
	k.last, err2 = strconv.ParseUint(last, 10, 64)
	return k, ok && two && err1 == nil && err2 == nil && k.after < k.last && l.linkName(k) == name
}

// readFile reads a file of the chain. The error does not name the folder.
func (l *Lake) readFile(name string) (link, error) {
	path := filepath.Join(l.cfg.Dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return link{}, bare(err)
	}
	if info.Size() > l.maxFile {
		return link{}, fmt.Errorf("%s: %d bytes, expected at most %d: %w", name, info.Size(), l.maxFile, ErrCheckpoint)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return link{}, bare(err)
	}
	k, err := parseCheckpoint(data, l.cfg.Stream)
	if err != nil {
		return link{}, fmt.Errorf("%s: %w", name, err)
	}
	return k, nil
}

// readLink reads the file of a link, which must be what its name says.
func (l *Lake) readLink(named link) (link, error) {
	k, err := l.readFile(l.linkName(named))
	if err == nil && (k.after != named.after || k.last != named.last) {
		err = fmt.Errorf("%s: it holds other messages than its name says: %w", l.linkName(named), ErrCheckpoint)
	}
	return k, err
}

// Kinds of files of the chain, as they are called while they are made: only one of each is at a time.
const (
	kindBase = "base"
	kindLink = "link"
)

// writeFile puts a file of the chain on disk, whole or not at all, and notes its size.
func (l *Lake) writeFile(name, kind string, k *link) error {
	data := appendCheckpoint(nil, l.cfg.Stream, *k)
	if int64(len(data)) > l.maxFile {
		return fmt.Errorf("%s: %d bytes, expected at most %d: %w", name, len(data), l.maxFile, errLarge)
	}
	tmp := filepath.Join(l.cfg.Dir, tmpDir, l.checkpointName()+"."+kind)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	k.size = int64(len(data))
	_, err = f.Write(data)
	if err := errors.Join(err, l.after(kind+" written")); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := l.after(kind + " synced"); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(l.cfg.Dir, name)); err != nil {
		return err
	}
	if err := l.after(kind + " renamed"); err != nil {
		return err
	}
	return durable.SyncFolder(l.cfg.Dir)
}
