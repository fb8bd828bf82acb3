package check

import "golang.org/x/sys/unix"

// synchronised asks the kernel whether its clock is disciplined. Source: adjtimex(2).
func synchronised() (bool, error) {
	var t unix.Timex // no modes: only ask
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
}

// space gives the bytes that may be used on the file system of a folder, and whether it is in memory.
func space(dir string) (free uint64, memory bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	memory = uint32(s.Type) == unix.TMPFS_MAGIC || uint32(s.Type) == unix.RAMFS_MAGIC
	return s.Bavail * uint64(s.Bsize), memory, nil
}
