package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"telltale.dev/agent/dist/notices"
	"telltale.dev/firmware-images/initramfs"
)

// noticesPath is where the licences lie in the image.
const noticesPath = "usr/share/doc/THIRD-PARTY"

// thirdParty adds the licences of what a slot is made of, and puts them beside the image, too: those of the Go
// modules in our programs, and those of Debian's packages.
func (b *build) thirdParty(ctx context.Context, a *initramfs.Archive, r *Result) error {
	packages := make([]string, 0, len(ourPrograms))
	for _, pkg := range ourPrograms {
		packages = append(packages, pkg)
	}
	slices.Sort(packages)
	modules, err := notices.Modules(b.cfg.Root, b.environment(), b.tags(), packages...)
	if err != nil {
		return err
	}
	text, err := notices.Text(modules)
	if err != nil {
		return err
	}
	out := bytes.NewBuffer(text)
	for _, p := range b.used {
		tree := b.kernel.Dir
		if p.Name != b.kernel.Package.Name {
			if tree, err = b.cache.Extract(ctx, p); err != nil {
				return err
			}
		}
		licence, err := os.ReadFile(filepath.Join(tree, "usr", "share", "doc", p.Name, "copyright"))
		if errors.Is(err, fs.ErrNotExist) {
			licence, err = []byte("As the other packages of the same source."), nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s\nDebian %s %s\n\n%s\n", rule, p.Name, p.Version, bytes.TrimSpace(licence))
	}
	a.File(noticesPath, 0o644, out.Bytes())
	return os.WriteFile(r.Notices, out.Bytes(), 0o644)
}

// rule stands between two licences.
const rule = "=============================================================================="
