package check

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Bounds of a disk that is well.
const (
	leastFree = 16 << 20               // bytes: less is a failure
	slowSync  = 200 * time.Millisecond // a commit costs about so much
	syncBytes = 4 << 10
)

// Disk is the data folder of the agent.
type Disk struct {
	Dir    string
	Wanted int64 // bound of the buffer, bytes
	Used   int64 // of it already on disk
}

// Look writes a small file into the folder and removes it. A folder that is not there yet is
// looked at through the one above it.
func (d Disk) Look() []Line {
	dir, text := d.Dir, ""
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir, text = filepath.Dir(dir), "will be made at the first start; "
	} else if err == nil && !info.IsDir() {
		return []Line{Failure("disk", "set data to a folder", "the data folder is a file")}
	}
	took, err := trySync(dir)
	if err != nil {
		hint := "expected a folder that the agent's user owns, on a disk that is mounted for writing"
		switch {
		case errors.Is(err, fs.ErrPermission):
			hint = "run the check as the agent's user, or: chown telltale FOLDER"
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			hint = "make room: the buffer cannot take anything"
		}
		return []Line{Failure("disk", hint, "the data folder is not writable: %v", plain(err))}
	}
	free, memory, err := space(dir)
	if err != nil {
		return []Line{Warning("disk", "", "%swritable, fsync %v, free space unknown: %v", text, round(took), plain(err))}
	}
	return []Line{d.judge(text, took, free, memory)}
}

func (d Disk) judge(text string, took time.Duration, free uint64, memory bool) Line {
	wanted := uint64(max(d.Wanted-d.Used, 0))
	format, args := "%s%d MiB free, fsync %v", []any{text, free >> 20, round(took)}
	switch {
	case free < leastFree:
		return Failure("disk", "make room: the buffer cannot take anything", format, args...)
	case memory:
		return Warning("disk", "set data to a folder on a real disk", format+", in memory: nothing survives a restart", args...)
	case free < wanted:
		return Warning("disk", "make room, or set buffer to less", format+"; the buffer may want %d MiB more", append(args, wanted>>20)...)
	case took > slowSync:
		return Warning("disk", "each commit takes as long; is the disk worn out or busy?", format, args...)
	}
	return Okay("disk", format, args...)
}

// trySync writes a file and waits until it is on disk.
func trySync(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".check-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, syncBytes)); err != nil {
		return 0, err
	}
	began := time.Now()
	err = f.Sync()
	return time.Since(began), err
}

// plain is the error without the path.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
