package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/firmware-images/guest"
	"telltale.dev/firmware-images/initramfs"
	"telltale.dev/firmware-images/qemu"
	"telltale.dev/hal/durable"
)

// maxFiles bounds what is packed for a program: it all lies in the guest's memory.
const maxFiles = 96 << 20

// prepared is what a boot needs.
type prepared struct {
	dir     string // temporary, of the host; holds the initramfs and swtpm's state
	initrd  string
	kernel  *debian.Kernel
	outputs []string // host paths of the program's output files, by number
	tpm     bool
}

// prepare fetches the kernel and packs the initramfs. The caller removes the
// folder of what it returns, also after an error.
func prepare(ctx context.Context, cfg *Config) (*prepared, error) {
	if cfg.Stdout == nil || cfg.Stderr == nil || cfg.Program == "" {
		return nil, errors.New("runner: expected Program, Stdout and Stderr")
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = 2
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	root, err := ModuleRoot(dir)
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(root, ".cache")
	packages, err := debian.New(debian.Config{Dir: filepath.Join(cache, "debian"), Log: slog.New(slog.NewTextHandler(cfg.Stderr, nil))})
	if err != nil {
		return nil, err
	}
	p := &prepared{}
	if p.kernel, err = packages.Kernel(ctx, DebianArch(cfg.Arch)); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "telltale-vm-"); err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	job := guest.Job{Env: cfg.Env, Now: time.Now()}
	job.Args, p.outputs = TestArguments(cfg.Args, dir)
	job.Outputs = len(p.outputs)
	if _, err := exec.LookPath("swtpm"); err == nil && !cfg.NoTPM {
		p.tpm = true
		job.TPM = qemu.TPMPort(cfg.Arch)
	}
	archive := &initramfs.Archive{}
	if err := addFiles(archive, root, dir, cfg.With); err != nil {
		return p, err
	}
	if cfg.Shell {
		if err := addShell(ctx, archive, packages, DebianArch(cfg.Arch)); err != nil {
			return p, err
		}
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return p, fmt.Errorf("runner: %w", err)
	}
	job.Dir = filepath.ToSlash(rel)
	if err := addModules(ctx, archive, p.kernel, cfg, &job); err != nil {
		return p, err
	}
	init, err := buildInit(ctx, root, filepath.Join(cache, "vm"), cfg.Arch)
	if err != nil {
		return p, err
	}
	if err := addPrograms(archive, init, cfg.Program, job); err != nil {
		return p, err
	}
	p.initrd = filepath.Join(p.dir, "initramfs")
	return p, write(archive, p.initrd)
}

// addPrograms packs the init, the program, its job, and what the kernel itself needs.
func addPrograms(archive *initramfs.Archive, init, program string, job guest.Job) error {
	for name, file := range map[string]string{"init": init, guest.Program: program} {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("runner: %w", err)
		}
		archive.File(name, 0o755, data)
	}
	text, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	archive.File(guest.JobPath, 0o644, text)
	archive.File("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	archive.File("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	archive.CharDevice("dev/console", 0o600, 5, 1)
	archive.CharDevice("dev/null", 0o666, 1, 3)
	return nil
}

// addShell packs a shell and the programs that it is asked for.
func addShell(ctx context.Context, archive *initramfs.Archive, packages *debian.Cache, arch debian.Arch) error {
	p, err := packages.Fetch(ctx, arch, "busybox-static")
	if err != nil {
		return err
	}
	tree, err := packages.Extract(ctx, p)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(tree, "bin", "busybox"))
	if errors.Is(err, fs.ErrNotExist) { // since Debian 13
		data, err = os.ReadFile(filepath.Join(tree, "usr", "bin", "busybox"))
	}
	if err != nil {
		return fmt.Errorf("runner: busybox: %w", err)
	}
	archive.File("bin/busybox", 0o755, data)
	for _, name := range []string{"sh", "ip", "unshare"} {
		archive.Symlink("bin/"+name, "busybox")
	}
	return nil
}

// addModules packs the kernel modules and lists them in the order of loading.
func addModules(ctx context.Context, archive *initramfs.Archive, kernel *debian.Kernel, cfg *Config, job *guest.Job) error {
	channel := []string{"virtio_mmio", "virtio_console"}
	if cfg.Arch == qemu.AMD64 {
		channel[0] = "virtio_pci"
	}
	names, params := append(channel, modules...), map[string]string{}
	if qemu.HasCAN(cfg.Arch) {
		names = append(names, "kvaser_pci")
	}
	for _, m := range cfg.Modules {
		names = append(names, m.Name)
		params[strings.ReplaceAll(m.Name, "-", "_")] = m.Params
	}
	loaded, err := kernel.Modules(ctx, names...)
	if err != nil {
		return err
	}
	for i, m := range loaded {
		archive.File(path.Join(guest.ModuleDir, m.Name), 0o600, m.Data)
		job.Modules = append(job.Modules, guest.Module{Name: m.Name, Params: params[m.Name]})
		if slices.Contains(channel, m.Name) {
			job.Early = i + 1
		}
	}
	return nil
}

// addFiles packs go.mod, the program's folder and what else it was given, where they lie in the Go module.
func addFiles(archive *initramfs.Archive, root, dir string, with []string) error {
	total := int64(0)
	for _, start := range append([]string{filepath.Join(root, "go.mod"), dir}, absolute(root, with)...) {
		err := filepath.WalkDir(start, func(at string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if at != start && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			rel, err := filepath.Rel(root, at)
			if err != nil || !filepath.IsLocal(rel) {
				return fmt.Errorf("%s: expected a path inside the Go module", start)
			}
			name := path.Join(guest.Root, filepath.ToSlash(rel))
			if d.IsDir() {
				archive.Dir(name, 0o755)
				return nil
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			if total += info.Size(); total > maxFiles {
				return fmt.Errorf("%s: expected at most %d bytes of files", start, maxFiles)
			}
			data, err := os.ReadFile(at)
			archive.File(name, info.Mode(), data)
			return err
		})
		if err != nil {
			return fmt.Errorf("runner: pack files: %w", err)
		}
	}
	return nil
}

func absolute(root string, names []string) []string {
	var all []string
	for _, n := range names {
		all = append(all, filepath.Join(root, n))
	}
	return all
}

// buildInit builds the guest's init; Go's build cache makes that quick.
func buildInit(ctx context.Context, root, dir string, arch qemu.Arch) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("runner: %w", err)
	}
	out := filepath.Join(dir, "telltale-vm-init-"+string(arch))
	lock, err := os.OpenFile(out+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("runner: %w", err)
	}
	defer lock.Close()
	if err := durable.Lock(lock, durable.Exclusive); err != nil {
		return "", fmt.Errorf("runner: build the guest's init: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./firmware-images/cmd/telltale-vm-init")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+string(arch), "GOARM=7", "CGO_ENABLED=0", "GOFLAGS=", "PWD="+root)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("runner: build the guest's init: %w: %s", err, bytes.TrimSpace(text))
	}
	return out, nil
}

func write(archive *initramfs.Archive, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	if _, err := archive.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	return nil
}

// commandLine is what the kernel is told: few words on the console, and no waiting after a panic.
func commandLine(arch qemu.Arch) string {
	console := "ttyAMA0"
	if arch == qemu.AMD64 {
		console = "ttyS0"
	}
	return "console=" + console + " loglevel=4 panic=-1"
}
