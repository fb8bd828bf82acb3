package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"telltale.dev/hal/durable"
)

// lockPoll is how often a process looks whether another has left the cache.
const lockPoll = 50 * time.Millisecond

// lock makes the cache this caller's own until unlock.
func (c *Cache) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("debian: lock the cache: %w", err)
	}
	for {
		err := durable.TryLock(f, durable.Exclusive)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, durable.ErrLocked) {
			f.Close()
			return nil, fmt.Errorf("debian: lock the cache: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("debian: lock the cache: %w", ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// options point apt at a state of its own for one architecture. The machine's
// sources and keys stay in force.
func (c *Cache) options(arch Arch) []string {
	state := filepath.Join(c.dir, "apt-"+string(arch))
	return []string{
		"-q",
		"-o", "APT::Architecture=" + string(arch),
		"-o", "APT::Architectures=" + string(arch),
		"-o", "APT::Sandbox::User=",
		"-o", "Dir::State=" + state,
		"-o", "Dir::State::status=" + filepath.Join(state, "status"),
		"-o", "Dir::Cache=" + filepath.Join(state, "cache"),
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}
}

// apt runs one of apt's programs for an architecture. The first call in a process's
// life of the cache also brings the index.
func (c *Cache) apt(ctx context.Context, arch Arch, program string, args ...string) (string, error) {
	return run(ctx, filepath.Join(c.dir, "debs"), program, append(c.options(arch), args...)...)
}

// update brings the package index of an architecture. After an error there may
// be an index all the same: one of the machine's sources may lack the architecture.
func (c *Cache) update(ctx context.Context, arch Arch) error {
	state := filepath.Join(c.dir, "apt-"+string(arch))
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, dir), 0o755); err != nil {
			return fmt.Errorf("debian: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(state, "status"), nil, 0o644); err != nil {
		return fmt.Errorf("debian: %w", err)
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w: apt-get is not installed: expected a Debian machine, or a filled cache", ErrUnavailable)
	}
	c.log.Info("fetching the package index", "arch", arch)
	if _, err := c.apt(ctx, arch, "apt-get", "update"); err != nil {
		c.log.Warn("a source of the package index could not be read; what the others have is used", "arch", arch, "error", err)
		return fmt.Errorf("%w: index of %s: %w", ErrUnavailable, arch, err)
	}
	return nil
}

// aptURI is a line of apt-get download --print-uris: 'URI' file size SHA256:hash.
var aptURI = regexp.MustCompile(`(?m)^'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})\s*$`)

// download resolves a package, brings it and checks it against apt's index.
func (c *Cache) download(ctx context.Context, arch Arch, name string) (Package, error) {
	out, err := c.apt(ctx, arch, "apt-get", "download", "--print-uris", name)
	if err != nil { // no index yet, or none with this package
		updating := c.update(ctx, arch)
		if out, err = c.apt(ctx, arch, "apt-get", "download", "--print-uris", name); err != nil {
			return Package{}, unavailable(name, arch, updating, err)
		}
	}
	p, err := parseURI(out)
	if err != nil {
		return Package{}, fmt.Errorf("debian: %s for %s: %w", name, arch, err)
	}
	p.Name, p.Arch = name, arch
	c.log.Info("fetching a package", "package", name, "version", p.Version, "arch", arch, "bytes", p.Size)
	if _, err := c.apt(ctx, arch, "apt-get", "download", name+"="+p.Version); err != nil {
		return Package{}, fmt.Errorf("%w: %s for %s: %w", ErrUnavailable, name, arch, err)
	}
	return p, c.verify(p)
}

// unavailable says why a package is not to be had: first of all because there was no index.
func unavailable(name string, arch Arch, updating, resolving error) error {
	if updating != nil {
		return fmt.Errorf("%s for %s: %w", name, arch, updating)
	}
	return fmt.Errorf("%w: %s for %s: %w", ErrUnavailable, name, arch, resolving)
}

// parseURI reads what apt would download. The version is in the file's name,
// where %3a stands for a colon.
func parseURI(out string) (Package, error) {
	m := aptURI.FindStringSubmatch(out)
	if m == nil {
		return Package{}, fmt.Errorf("apt-get download --print-uris: expected one line with a SHA256, got %q", strings.TrimSpace(out))
	}
	size, err := strconv.ParseInt(m[3], 10, 64)
	if err != nil {
		return Package{}, fmt.Errorf("apt-get download --print-uris: size: %w", err)
	}
	parts := strings.Split(strings.TrimSuffix(m[2], ".deb"), "_")
	if len(parts) != 3 || m[2] != filepath.Base(m[2]) {
		return Package{}, fmt.Errorf("apt-get download --print-uris: expected a file name_version_arch.deb, got %q", m[2])
	}
	version, err := url.PathUnescape(parts[1])
	if err != nil {
		return Package{}, fmt.Errorf("apt-get download --print-uris: version: %w", err)
	}
	return Package{Version: version, SHA256: m[4], Size: size, File: m[2]}, nil
}

// run gives a program's standard output, or an error with the last line it complained in.
func run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		return "", fmt.Errorf("%s: %w: %s", program, err, lines[len(lines)-1])
	}
	return string(out), nil
}
