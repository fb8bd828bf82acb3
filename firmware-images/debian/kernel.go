package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Kernel is an extracted kernel package.
type Kernel struct {
	Package Package
	Release string // as uname -r says, such as 6.1.0-57-arm64
	Image   string // path of the bootable image
	Dir     string // the package's tree; device trees are in usr/lib/linux-image-*
}

// metaPackages name the newest kernel of an architecture.
var metaPackages = map[Arch]string{
	ARM64: "linux-image-arm64",
	ARMHF: "linux-image-armmp-lpae",
	AMD64: "linux-image-amd64",
}

// dependsOn is the line of apt-cache depends that names the kernel itself.
var dependsOn = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-[0-9]\S*)\s*$`)

// Kernel fetches and extracts Debian's kernel for an architecture.
func (c *Cache) Kernel(ctx context.Context, arch Arch) (*Kernel, error) {
	p, err := c.fetchKernel(ctx, arch)
	if err != nil {
		return nil, err
	}
	dir, err := c.Extract(ctx, p)
	if err != nil {
		return nil, err
	}
	release := strings.TrimPrefix(p.Name, "linux-image-")
	k := &Kernel{Package: p, Release: release, Dir: dir, Image: filepath.Join(dir, "boot", "vmlinuz-"+release)}
	if _, err := os.Stat(k.Image); err != nil {
		return nil, fmt.Errorf("debian: %s %s: expected a kernel image: %w", p.Name, p.Version, err)
	}
	return k, nil
}

// fetchKernel finds out which package the meta package stands for, and fetches it.
func (c *Cache) fetchKernel(ctx context.Context, arch Arch) (Package, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Package{}, err
	}
	defer unlock()
	known, err := c.load()
	if err != nil {
		return Package{}, err
	}
	if name := known.Kernels[arch]; name != "" {
		return c.fetch(ctx, arch, name)
	}
	meta, ok := metaPackages[arch]
	if !ok {
		return Package{}, fmt.Errorf("debian: kernel for %q: expected arm64, armhf or amd64", arch)
	}
	updating := c.update(ctx, arch)
	out, err := c.apt(ctx, arch, "apt-cache", "depends", meta)
	if err != nil {
		return Package{}, unavailable(meta, arch, updating, err)
	}
	m := dependsOn.FindStringSubmatch(out)
	if m == nil {
		return Package{}, unavailable(meta, arch, updating, errors.New("names no kernel: expected Debian's package sources"))
	}
	p, err := c.fetch(ctx, arch, m[1])
	if err != nil {
		return Package{}, err
	}
	if known, err = c.load(); err != nil {
		return Package{}, err
	}
	known.Kernels[arch] = m[1]
	return p, c.store(known)
}
