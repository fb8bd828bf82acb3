package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// TestCompress: each form gives the bytes back, the same each time, and begins as the kernel expects it (init/initramfs.c, lib/decompress.c).
func TestCompress(t *testing.T) {
	data := []byte(strings.Repeat("a root file system ", 600_000)) // more than one of lz4's blocks of 8 MiB
	for form, c := range map[string]struct {
		magic string
		read  func(io.Reader) (io.Reader, error)
	}{
		"":       {"\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }},
		zstdForm: {"\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }},
		lz4Form:  {"\x02\x21\x4c\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
	} {
		var files [2][]byte
		for i := range files {
			path := filepath.Join(t.TempDir(), "packed")
			if err := compress(path, data, form); err != nil {
				t.Fatal(err)
			}
			var err error
			if files[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[0], files[1]) || !bytes.HasPrefix(files[0], []byte(c.magic)) {
			t.Errorf("%q: got %x and %x first", form, files[0][:4], files[1][:4])
		}
		r, err := c.read(bytes.NewReader(files[0]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q: got %d bytes, %v, want %d", form, len(got), err, len(data))
		}
	}
}
