//go:build linux

package partitions

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// IdentityDir is where the identity is, in memory: the partition is read once and never written here.
const IdentityDir = "/run/telltale/identity"

// maxIdentity bounds each file of the identity in bytes.
const maxIdentity = 64 << 10

// UnpackIdentity reads the device's certificate, key and endpoints.
func UnpackIdentity(name string) error {
	device, err := partition(name)
	if err != nil {
		return err
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(IdentityDir, 0o700); err != nil {
		return err
	}
	archive := tar.NewReader(f)
	files := 0
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("expected a tar archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg || header.Name != filepath.Base(header.Name) || header.Size > maxIdentity {
			return fmt.Errorf("%q: expected plain files of at most %d bytes, without folders", header.Name, maxIdentity)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(IdentityDir, header.Name), data, 0o600); err != nil {
			return err
		}
		files++
	}
	if files == 0 {
		return errors.New("the partition is empty: expected the device to be provisioned")
	}
	return nil
}
