package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// firmwarePartition makes the FAT file system that a board's own firmware starts
// from. What the vendor folder lacks is left out, and named in Result.Missing.
func (b *build) firmwarePartition(ctx context.Context, r *Result, size int64) (string, error) {
	path := filepath.Join(b.work, "firmware.fat")
	if _, err := b.run(ctx, "mkfs.vfat", "--invariant", "-n", "FIRMWARE", "-C", path, fmt.Sprint(size>>10)); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(b.board.Firmware.Files)) {
		source := b.board.Firmware.Files[name]
		from := filepath.Join(b.board.dir, source)
		if source == filepath.Base(r.Control) {
			from = r.Control
		}
		if err := b.intoFAT(ctx, path, name, from); err != nil {
			return "", err
		}
	}
	for _, name := range b.board.Firmware.Vendor {
		err := fs.ErrNotExist
		if b.cfg.Vendor != "" {
			err = b.intoFAT(ctx, path, name, filepath.Join(b.cfg.Vendor, name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			if !slices.Contains(r.Missing, name) {
				r.Missing = append(r.Missing, name)
			}
			continue
		}
		if err != nil {
			return "", err
		}
	}
	return path, nil
}

// intoFAT copies a file into the file system, dated as everything else.
func (b *build) intoFAT(ctx context.Context, fat, name, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	dated := filepath.Join(b.work, "dated")
	if err := os.WriteFile(dated, data, 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(dated, b.cfg.Epoch, b.cfg.Epoch); err != nil {
		return err
	}
	_, err = b.run(ctx, "mcopy", "-m", "-i", fat, dated, "::"+name)
	return err
}
