// Package debian brings Debian packages of any architecture into a cache
// folder: kernels with their modules, and what else a firmware image is made of.
//
// A package is resolved by apt in a state of its own, with the machine's own
// sources and keys: no root, and no foreign architecture in the machine's dpkg.
// What was resolved stays: version and SHA-256 are recorded in lock.json of the
// cache, checked against apt's signed index when fetched and against the record
// at each later use, which needs no network. Removing the cache resolves anew.
//
// It installs nothing, runs no package scripts, and follows no dependencies
// but the one from a kernel's meta package to the kernel.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"telltale.dev/hal/durable"
)

// Arch is Debian's name of an architecture.
type Arch string

// The architectures the project builds for.
const (
	ARM64 Arch = "arm64"
	ARMHF Arch = "armhf"
	AMD64 Arch = "amd64"
)

// ErrUnavailable is wrapped by Fetch and Kernel when a package is neither in the cache nor to be had.
var ErrUnavailable = errors.New("debian package not available")

// Package is one fetched package, as recorded in the lock file.
type Package struct {
	Name    string `json:"name"`
	Arch    Arch   `json:"arch"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // of the .deb, hexadecimal
	Size    int64  `json:"size"`   // of the .deb, in bytes
	File    string `json:"file"`   // name of the .deb in the cache's folder debs
}

// Config of a Cache.
type Config struct {
	Dir string       // the cache folder, made when absent; must be set
	Log *slog.Logger // nil: no word about downloads
}

// Cache fetches packages once. Its methods may be called by any goroutine and
// by several processes with the same folder: a file lock makes them wait.
type Cache struct {
	dir string
	log *slog.Logger
}

// New makes the cache folder.
func New(cfg Config) (*Cache, error) {
	if cfg.Dir == "" {
		return nil, errors.New("debian: expected Config.Dir, the cache folder")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("debian: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "debs"), 0o755); err != nil {
		return nil, fmt.Errorf("debian: make the cache: %w", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Cache{dir: dir, log: log}, nil
}

// record is the lock file: what was resolved, by "arch/name".
type record struct {
	Packages map[string]Package `json:"packages"`
	Kernels  map[Arch]string    `json:"kernels"` // the kernel package that the meta package named
}

// Fetch gives the newest version of a package, or the version that the cache
// holds. Its error is an ErrUnavailable when the package is not to be had.
func (c *Cache) Fetch(ctx context.Context, arch Arch, name string) (Package, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Package{}, err
	}
	defer unlock()
	return c.fetch(ctx, arch, name)
}

// fetch does Fetch with the lock held.
func (c *Cache) fetch(ctx context.Context, arch Arch, name string) (Package, error) {
	known, err := c.load()
	if err != nil {
		return Package{}, err
	}
	key := string(arch) + "/" + name
	if p, ok := known.Packages[key]; ok {
		err := c.verify(p)
		if !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
	}
	p, err := c.download(ctx, arch, name)
	if err != nil {
		return Package{}, err
	}
	if was, ok := known.Packages[key]; ok && was != p {
		c.log.Info("package changed since it was recorded", "package", name, "was", was.Version, "now", p.Version)
	}
	known.Packages[key] = p
	return p, c.store(known)
}

// Extract unpacks a package below the cache, once, and gives the folder. The
// caller must not change what is there.
func (c *Cache) Extract(ctx context.Context, p Package) (string, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(c.dir, "trees", p.Name+"_"+string(p.Arch)+"_"+p.SHA256[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := c.verify(p); err != nil {
		return "", err
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("debian: extract %s: %w", p.Name, err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", fmt.Errorf("debian: extract %s: %w", p.Name, err)
	}
	if _, err := run(ctx, partial, "dpkg-deb", "-x", c.path(p), partial); err != nil {
		return "", fmt.Errorf("debian: extract %s: %w", p.Name, err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("debian: extract %s: %w", p.Name, err)
	}
	return dir, nil
}

// path is where the package's .deb lies.
func (c *Cache) path(p Package) string { return filepath.Join(c.dir, "debs", p.File) }

// verify compares the .deb with the record.
func (c *Cache) verify(p Package) error {
	f, err := os.Open(c.path(p))
	if err != nil {
		return fmt.Errorf("debian: %s %s: %w", p.Name, p.Version, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("debian: read %s %s: %w", p.Name, p.Version, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("debian: %s %s in the cache has SHA-256 %s, expected %s: remove %s and try again", p.Name, p.Version, got, p.SHA256, p.File)
	}
	return nil
}

func (c *Cache) load() (record, error) {
	known := record{Packages: map[string]Package{}, Kernels: map[Arch]string{}}
	text, err := os.ReadFile(filepath.Join(c.dir, "lock.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return known, fmt.Errorf("debian: %w", err)
	}
	if err := json.Unmarshal(text, &known); err != nil {
		return known, fmt.Errorf("debian: lock.json of the cache: %w", err)
	}
	if known.Packages == nil || known.Kernels == nil {
		return known, errors.New("debian: lock.json of the cache: expected the fields packages and kernels")
	}
	return known, nil
}

func (c *Cache) store(known record) error {
	text, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return fmt.Errorf("debian: %w", err)
	}
	path := filepath.Join(c.dir, "lock.json")
	if err := durable.ReplaceMode(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("debian: %w", err)
	}
	return nil
}
