package debian_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale.dev/firmware-images/debian"
)

// shared is the cache that the make targets use, so that tests need not fetch the index again.
var shared = filepath.Join("..", "..", ".cache", "debian")

// small is a package of a few kilobytes that is not all-architectures.
const small = "hostname"

func open(t *testing.T, dir string) *debian.Cache {
	t.Helper()
	c, err := debian.New(debian.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fetch brings the small package, or skips the test where there is no apt and nobody promised it.
func fetch(t *testing.T) debian.Package {
	t.Helper()
	p, err := open(t, shared).Fetch(t.Context(), debian.ARM64, small)
	if errors.Is(err, debian.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// copied is a cache that holds what the shared one holds of a package.
func copied(t *testing.T, p debian.Package) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"lock.json", filepath.Join("debs", p.File)} {
		data, err := os.ReadFile(filepath.Join(shared, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFetchAndExtract(t *testing.T) {
	p := fetch(t)
	if p.Name != small || p.Arch != debian.ARM64 || p.Version == "" || len(p.SHA256) != 64 {
		t.Errorf("got %+v", p)
	}
	dir, err := open(t, shared).Extract(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(dir, "bin", "hostname"))
	if os.IsNotExist(err) { // since Debian 13
		program, err = os.ReadFile(filepath.Join(dir, "usr", "bin", "hostname"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(program[:4]) != "\x7fELF" || program[18] != 183 { // EM_AARCH64
		t.Errorf("expected a program for arm64, got %x", program[:20])
	}
}

func TestCachedNeedsNoApt(t *testing.T) {
	p := fetch(t)
	dir := copied(t, p)
	t.Setenv("PATH", "")
	if got, err := open(t, dir).Fetch(t.Context(), debian.ARM64, small); err != nil || got != p {
		t.Errorf("got %+v, %v; want %+v", got, err, p)
	}
}

func TestChangedPackageIsRefused(t *testing.T) {
	p := fetch(t)
	dir := copied(t, p)
	deb := filepath.Join(dir, "debs", p.File)
	data, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(deb, data, 0o644); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	if _, err := c.Fetch(t.Context(), debian.ARM64, small); err == nil || !strings.Contains(err.Error(), "expected "+p.SHA256) {
		t.Errorf("Fetch of a changed package: got %v", err)
	}
	if _, err := c.Extract(t.Context(), p); err == nil || !strings.Contains(err.Error(), "expected "+p.SHA256) {
		t.Errorf("Extract of a changed package: got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "trees", "*")); len(left) > 0 {
		t.Errorf("a changed package was extracted to %q", left)
	}
}

func TestUnavailable(t *testing.T) {
	t.Run("no such package", func(t *testing.T) {
		fetch(t)
		_, err := open(t, shared).Fetch(t.Context(), debian.ARM64, "telltale-no-such-package")
		if !errors.Is(err, debian.ErrUnavailable) || !strings.Contains(err.Error(), "telltale-no-such-package") {
			t.Errorf("got %v, want ErrUnavailable and the name", err)
		}
	})
	t.Run("no apt", func(t *testing.T) {
		t.Setenv("PATH", "")
		c := open(t, t.TempDir())
		for name, call := range map[string]func() error{
			"package": func() error { _, err := c.Fetch(t.Context(), debian.ARM64, small); return err },
			"kernel":  func() error { _, err := c.Kernel(t.Context(), debian.ARM64); return err },
		} {
			if err := call(); !errors.Is(err, debian.ErrUnavailable) || !strings.Contains(err.Error(), "apt-get is not installed") {
				t.Errorf("%s: got %v, want ErrUnavailable for lack of apt-get", name, err)
			}
		}
	})
	t.Run("architecture", func(t *testing.T) {
		_, err := open(t, t.TempDir()).Kernel(t.Context(), "mips")
		if err == nil || !strings.Contains(err.Error(), "expected arm64, armhf or amd64") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDamagedLockFile(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "x", "no fields": `{"packages":null}`} {
		dir := t.TempDir()
		c := open(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "lock.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Fetch(t.Context(), debian.ARM64, small); err == nil || !strings.Contains(err.Error(), "lock.json") {
			t.Errorf("%s: got %v, want an error that names lock.json", name, err)
		}
	}
}
