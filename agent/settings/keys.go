package settings

import (
	"fmt"
	"path/filepath"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol/signed"
)

// maxKey bounds the file of a public key, in bytes.
const maxKey = 1 << 20

// Trusted reads the keys whose updates are taken: the files *.pem of UpdateKeys. A folder without any would trust nobody, which is an error.
func (f *Firmware) Trusted() (signed.Keys, error) {
	names, err := filepath.Glob(filepath.Join(f.UpdateKeys, "*.pem"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("expected at least one public key *.pem in %s", f.UpdateKeys)
	}
	files := make([][]byte, len(names))
	for i, name := range names {
		if files[i], _, err = durable.ReadRegular(name, maxKey); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return signed.ParseKeys(files...)
}
