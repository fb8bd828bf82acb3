package image

import (
	"context"
	"errors"
)

// firmwarePartition makes the FAT file system that a board's own firmware starts from.
func (b *build) firmwarePartition(context.Context, *Result, int64) (string, error) {
	return "", errors.New("board.yaml: disk.firmware: not supported yet")
}
