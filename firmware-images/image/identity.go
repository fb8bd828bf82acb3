package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
)

// IdentityPartition holds the device's certificate and key as a tar archive of
// plain files. It is written once, at the factory or for a development device,
// and survives the loss of the data partition.
const IdentityPartition = "identity"

// WriteIdentity puts the files of an identity into a disk image: device.crt,
// device.key, ca.crt, and endpoint with one host:port a line.
func WriteIdentity(disk string, files map[string][]byte) error {
	for _, name := range []string{"device.crt", "device.key", "ca.crt", "endpoint"} {
		if len(files[name]) == 0 {
			return fmt.Errorf("identity: %s: expected it with some content", name)
		}
	}
	start, size, err := FindPartition(disk, IdentityPartition)
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name]))}); err != nil {
			return fmt.Errorf("identity: %s: %w", name, err)
		}
		if _, err := w.Write(files[name]); err != nil {
			return fmt.Errorf("identity: %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if int64(archive.Len()) > size {
		return fmt.Errorf("identity: %d bytes; expected at most %d", archive.Len(), size)
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(append(archive.Bytes(), make([]byte, size-int64(archive.Len()))...), start); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return f.Close()
}
