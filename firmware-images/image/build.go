package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"telltale.dev/firmware-images/debian"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
	"telltale.dev/protocol"
)

// Config says what to build.
type Config struct {
	Root  string // the repository's root folder, whose programs are built
	Board string // the board's folder
	Out   string // where the result goes; made when missing
	Keys  string // folder of the signing keys; development keys are made there when missing
	Cache string // folder of Debian's packages

	Version string    // for people; as in update files
	Release uint64    // counts up
	Epoch   time.Time // dates everything; not zero

	Vendor string // folder of files that only the board's maker gives out; "": none

	// Files replace or add files of the initramfs, by path: tests build broken images with them.
	Files map[string][]byte
	// SlotOnly leaves out the disk image.
	SlotOnly bool
	Log      *slog.Logger // nil: silent
}

// Result names what was built.
type Result struct {
	Disk, Slot, Update, UBoot, Control, SBOM, Notices string // paths
	SlotSize                                          int64  // in bytes
	// Missing are files of the vendor's that the image lacks; it does not start without them.
	Missing []string
}

// build is one run of Build.
type build struct {
	cfg    Config
	board  *Board
	keys   keys
	cache  *debian.Cache
	kernel *debian.Kernel
	work   string            // folder of intermediate files
	used   []debian.Package  // of the slot, the kernel first
	boot   []debian.Package  // of the boot loader
	goes   map[string]string // program → path of the built binary
	sizes  map[string]int64  // of partitions
}

// Build builds a board's image. Nothing but the cache, the keys and Out is written.
func Build(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Epoch.IsZero() || cfg.Version == "" || cfg.Release == 0 {
		return nil, errors.New("image: expected Config.Epoch, Version and Release")
	}
	b := &build{cfg: cfg, goes: map[string]string{}}
	var err error
	if b.board, err = LoadBoard(cfg.Board); err != nil {
		return nil, err
	}
	if b.sizes, err = b.board.sizes(); err != nil {
		return nil, err
	}
	if b.keys, err = openKeys(cfg.Keys); err != nil {
		return nil, err
	}
	if b.cache, err = debian.New(debian.Config{Dir: cfg.Cache, Log: cfg.Log}); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Out, 0o755); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if b.work, err = os.MkdirTemp(cfg.Out, "work-"); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	defer os.RemoveAll(b.work)
	if b.work, err = filepath.Abs(b.work); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return b.all(ctx)
}

// all takes the steps in order.
func (b *build) all(ctx context.Context) (*Result, error) {
	r := &Result{}
	for name, at := range map[string]*string{
		"slot.itb": &r.Slot, "update.ttup": &r.Update, "disk.img": &r.Disk,
		"u-boot.bin": &r.UBoot, "control.dtb": &r.Control, "sbom.json": &r.SBOM, "THIRD-PARTY": &r.Notices,
	} {
		*at = filepath.Join(b.cfg.Out, name)
	}
	steps := []struct {
		name string
		run  func(context.Context, *Result) error
	}{
		{"kernel", b.fetchKernel}, {"programs", b.programs}, {"initramfs", b.initramfs}, {"slot", b.slot},
		{"update file", b.update}, {"boot loader", b.bootLoader}, {"disk", b.disk}, {"bill of materials", b.sbom},
	}
	for _, s := range steps {
		if b.cfg.SlotOnly && (s.name == "boot loader" || s.name == "disk" || s.name == "bill of materials") {
			continue
		}
		began := time.Now()
		if err := s.run(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", b.board.Name, s.name, err)
		}
		b.cfg.Log.Info("built", "part", s.name, "took", time.Since(began).Round(time.Millisecond))
	}
	return r, nil
}

func (b *build) fetchKernel(ctx context.Context, _ *Result) (err error) {
	if b.kernel, err = b.cache.Kernel(ctx, arch); err == nil {
		b.used = append(b.used, b.kernel.Package)
	}
	return err
}

// sizes reads the sizes of the partitions.
func (b *Board) sizes() (map[string]int64, error) {
	sizes := map[string]int64{}
	for _, p := range []struct{ name, text string }{{"slot", b.Disk.Slot}, {"data", b.Disk.Data}, {"firmware", b.Disk.Firmware}} {
		if p.text == "" && p.name == "firmware" {
			continue
		}
		n, err := protocol.ParseSize(p.text)
		if err != nil {
			return nil, fmt.Errorf("board.yaml: disk.%s: %w", p.name, err)
		}
		if n == 0 || n%alignment != 0 {
			return nil, fmt.Errorf("board.yaml: disk.%s: %s: expected whole mebibytes", p.name, p.text)
		}
		sizes[p.name] = n
	}
	return sizes, nil
}

// identitySize is that of the partition with the device's certificate and key.
const identitySize = 1 << 20

// disk writes the disk image: the firmware in slot A, nothing in slot B, no identity.
func (b *build) disk(ctx context.Context, r *Result) error {
	data := filepath.Join(b.work, "data.ext4")
	if err := b.dataFileSystem(ctx, data); err != nil {
		return err
	}
	parts := []partition{
		{Name: uboot.StatePartition, Type: typeLinux, Size: alignment, Raw: uboot.EncodeState(slots.A)},
		{Name: uboot.SlotAPartition, Type: typeLinux, Size: b.sizes["slot"], Data: r.Slot},
		{Name: uboot.SlotBPartition, Type: typeLinux, Size: b.sizes["slot"]},
		{Name: IdentityPartition, Type: typeLinux, Size: identitySize},
		{Name: "data", Type: typeLinux, Size: b.sizes["data"], Data: data},
	}
	if size := b.sizes["firmware"]; size > 0 {
		file, err := b.firmwarePartition(ctx, r, size)
		if err != nil {
			return err
		}
		parts = append([]partition{{Name: "firmware", Type: typeBasic, Size: size, Data: file}}, parts...)
	}
	_, err := writeDisk(r.Disk, b.board.Name, parts)
	return err
}

// dataFileSystem makes an empty file system, so that a device need not make one at its first start.
func (b *build) dataFileSystem(ctx context.Context, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(b.sizes["data"]); err != nil {
		return err
	}
	id := derivedGUID(b.board.Name, "data file system")
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	_, err = b.run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "data", "-U", uuid, "-E", "hash_seed="+uuid+",nodiscard", path)
	return err
}
