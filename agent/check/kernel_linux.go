package check

import "golang.org/x/sys/unix"

// space gives the bytes that may be used on the file system of a folder, and whether it is in memory.
func space(dir string) (free uint64, memory bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	memory = uint32(s.Type) == unix.TMPFS_MAGIC || uint32(s.Type) == unix.RAMFS_MAGIC
	return s.Bavail * uint64(s.Bsize), memory, nil
}
