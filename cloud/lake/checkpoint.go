package lake

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"telltale.dev/hal/durable"
)

// A checkpoint file, numbers big endian:
//
//	"TTLAKE1\n"  stream length (1), stream  last (8)  ledger length (8), ledger  SHA-256 of all before (32)
const checkpointMagic = "TTLAKE1\n"

// maxCheckpoint bounds what is read back, in bytes.
const maxCheckpoint = 1 << 30

func appendCheckpoint(dst []byte, stream string, last uint64, ledger []byte) []byte {
	dst = append(dst, checkpointMagic...)
	dst = append(dst, byte(len(stream)))
	dst = append(dst, stream...)
	dst = binary.BigEndian.AppendUint64(dst, last)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(ledger)))
	dst = append(dst, ledger...)
	sum := sha256.Sum256(dst)
	return append(dst, sum[:]...)
}

func parseCheckpoint(data []byte, stream string) (last uint64, ledger []byte, err error) {
	body, ok := bytes.CutSuffix(data, data[max(0, len(data)-sha256.Size):])
	if sum := sha256.Sum256(body); !ok || !bytes.Equal(sum[:], data[len(body):]) {
		return 0, nil, fmt.Errorf("checksum differs: %w", ErrCheckpoint)
	}
	head := checkpointMagic + string([]byte{byte(len(stream))}) + stream
	rest, ok := bytes.CutPrefix(body, []byte(head))
	if !ok || len(rest) < 16 || binary.BigEndian.Uint64(rest[8:]) != uint64(len(rest)-16) {
		return 0, nil, fmt.Errorf("expected a checkpoint of this stream, version 1: %w", ErrCheckpoint)
	}
	return binary.BigEndian.Uint64(rest), rest[16:], nil
}

func (l *Lake) checkpointName() string { return "checkpoint-" + l.cfg.Stream }

// readCheckpoint gives found false when there is none.
func (l *Lake) readCheckpoint() (found bool, err error) {
	name := filepath.Join(l.cfg.Dir, l.checkpointName())
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Size() > maxCheckpoint {
		return false, fmt.Errorf("%s: larger than 1 GiB: %w", l.checkpointName(), ErrCheckpoint)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	if l.last, l.ledger, err = parseCheckpoint(data, l.cfg.Stream); err != nil {
		return false, fmt.Errorf("%s: %w", l.checkpointName(), err)
	}
	return true, nil
}

// writeCheckpoint is the point of a commit.
func (l *Lake) writeCheckpoint(last uint64, ledger []byte) error {
	tmp := filepath.Join(l.cfg.Dir, tmpDir, l.checkpointName())
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(appendCheckpoint(nil, l.cfg.Stream, last, ledger))
	if err := errors.Join(err, l.after("checkpoint written")); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := l.after("checkpoint synced"); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(l.cfg.Dir, l.checkpointName())); err != nil {
		return err
	}
	if err := l.after("checkpoint renamed"); err != nil {
		return err
	}
	return durable.SyncFolder(l.cfg.Dir)
}
