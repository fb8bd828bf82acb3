package uboot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dropCache makes the next reads come from the device. What has been stored is dropped from the page cache.
func dropCache(f *os.File, size int64) error {
	if err := unix.Fadvise(int(f.Fd()), 0, size, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop the page cache: %w", err)
	}
	return nil
}
