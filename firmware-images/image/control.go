package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bootScript is the text of boot.cmd for this board.
func (b *build) bootScript() (string, error) {
	text, err := os.ReadFile(filepath.Join(b.board.dir, "..", "boot.cmd"))
	if err != nil {
		return "", err
	}
	interfaceName, _, _ := strings.Cut(b.board.Boot.Device, " ")
	fdt := "${fdtcontroladdr}"
	if b.board.Kernel.DeviceTree != "" {
		fdt = fmt.Sprintf("%#x#slot", b.board.Boot.Scratch)
	}
	filled := strings.NewReplacer(
		"@DEVICE@", b.board.Boot.Device, "@PREPARE@", b.board.Boot.Prepare, "@ARGS@", b.board.Boot.Args, "@FDT@", fdt,
		"@READ@", interfaceName+" read", "@WRITE@", interfaceName+" write",
		"@SLOT@", fmt.Sprintf("%#x", b.board.Boot.Scratch), "@STATE@", fmt.Sprintf("%#x", b.board.Boot.Scratch-1<<20),
	).Replace(string(text))
	var lines []string
	for line := range strings.Lines(filled) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// controlNode is what we add to U-Boot's device tree: bootcmd is taken from here
// instead of from the environment, and a delay of -2 asks nobody whether to stop (U-Boot's
// common/autoboot.c). Its bootsecure would be stricter, but takes one bare command.
const controlNode = `
/ {
	config {
		bootdelay = <0xfffffffe>;
		bootcmd = "%s";
	};
};
`

// bootLoader gives U-Boot and its control device tree.
func (b *build) bootLoader(ctx context.Context, r *Result) error {
	if err := b.bootProgram(ctx, r); err != nil {
		return err
	}
	source, err := b.controlSource(ctx, r)
	if err != nil {
		return err
	}
	script, err := b.bootScript()
	if err != nil {
		return err
	}
	source = append(source, fmt.Appendf(nil, controlNode, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(script))...)
	dts, dtb := filepath.Join(b.work, "control.dts"), filepath.Join(b.work, "control.dtb")
	if err := os.WriteFile(dts, source, 0o644); err != nil {
		return err
	}
	if _, err := b.run(ctx, "dtc", "-q", "-I", "dts", "-O", "dtb", "-p", "8192", "-o", dtb, dts); err != nil {
		return err
	}
	return b.addKey(ctx, r, dtb)
}

// bootProgram puts U-Boot beside the image: Debian's, or the vendor folder's, as far as it is there.
func (b *build) bootProgram(ctx context.Context, r *Result) error {
	from := filepath.Join(b.cfg.Vendor, b.board.UBoot.File)
	if b.board.UBoot.Package != "" {
		tree, err := b.bootPackage(ctx, b.board.UBoot.Package)
		if err != nil {
			return err
		}
		from = filepath.Join(tree, b.board.UBoot.File)
	}
	program, err := os.ReadFile(from)
	if b.board.UBoot.Package == "" && (b.cfg.Vendor == "" || errors.Is(err, fs.ErrNotExist)) {
		r.UBoot = ""
		r.Missing = append(r.Missing, b.board.UBoot.File)
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(r.UBoot, program, 0o644)
}

// controlSource is the device tree that U-Boot has without us, as source.
func (b *build) controlSource(ctx context.Context, r *Result) ([]byte, error) {
	plain := filepath.Join(b.work, "plain.dtb")
	if b.board.Kernel.DeviceTree != "" {
		plain = filepath.Join(b.work, "board.dtb")
	} else {
		uboot, err := filepath.Abs(r.UBoot)
		if err != nil {
			return nil, err
		}
		// The same machine as package qemu runs; without randomness, which QEMU adds at each start.
		if _, err := b.run(ctx, "qemu-system-aarch64", "-machine", "virt,dtb-randomness=off,dumpdtb="+plain, "-cpu", "cortex-a53",
			"-m", "512", "-smp", "1", "-nodefaults", "-display", "none", "-bios", uboot); err != nil {
			return nil, err
		}
	}
	return b.run(ctx, "dtc", "-q", "-I", "dtb", "-O", "dts", plain)
}

// addKey lets mkimage put the public key into the tree, as one that is required.
// It signs a copy of the slot once more on the way.
func (b *build) addKey(ctx context.Context, r *Result, dtb string) error {
	slot, err := os.ReadFile(r.Slot)
	if err != nil {
		return err
	}
	again := filepath.Join(b.work, "again.itb")
	if err := os.WriteFile(again, slot, 0o644); err != nil {
		return err
	}
	dir, err := filepath.Abs(b.keys.dir)
	if err != nil {
		return err
	}
	if _, err := b.run(ctx, "mkimage", "-F", "-k", dir, "-K", dtb, "-r", again); err != nil {
		return err
	}
	data, err := os.ReadFile(dtb)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte("required")) {
		return fmt.Errorf("mkimage: expected it to put the key %s into the device tree", slotKey)
	}
	return os.WriteFile(r.Control, data, 0o644)
}

// deviceTree adds the board's parts to the kernel's device tree.
func (b *build) deviceTree(ctx context.Context) error {
	if b.board.Kernel.DeviceTree == "" {
		return nil
	}
	from := filepath.Join(b.kernel.Dir, "usr", "lib", "linux-image-"+b.kernel.Release, b.board.Kernel.DeviceTree)
	source, err := b.run(ctx, "dtc", "-q", "-I", "dtb", "-O", "dts", from)
	if err != nil {
		return err
	}
	for _, name := range b.board.Kernel.Additions {
		addition, err := os.ReadFile(filepath.Join(b.board.dir, name))
		if err != nil {
			return fmt.Errorf("board.yaml: kernel.additions: %w", err)
		}
		source = append(source, addition...)
	}
	dts := filepath.Join(b.work, "board.dts")
	if err := os.WriteFile(dts, source, 0o644); err != nil {
		return err
	}
	_, err = b.run(ctx, "dtc", "-q", "-I", "dts", "-O", "dtb", "-o", filepath.Join(b.work, "board.dtb"), dts)
	return err
}
