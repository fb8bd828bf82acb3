package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"crypto/ecdsa"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// fitSource is the FIT of a slot. Every part is named by the signed
// configuration, whose signature covers their hashes.
var fitSource = template.Must(template.New("fit").Parse(`/dts-v1/;
/ {
	description = "telltale {{.Board}} {{.Version}}";
	#address-cells = <1>;
	images {
		kernel {
			description = "Linux {{.Kernel}}";
			data = /incbin/("kernel.gz");
			type = "kernel";
			arch = "arm64";
			os = "linux";
			compression = "gzip";
			load = <{{.Load}}>;
			entry = <{{.Load}}>;
			hash-1 { algo = "sha256"; };
		};
		ramdisk {
			description = "telltale-init, telltale-agent";
			data = /incbin/("{{.Initramfs}}");
			type = "ramdisk";
			arch = "arm64";
			os = "linux";
			compression = "none";
			hash-1 { algo = "sha256"; };
		};
{{- if .Tree}}
		fdt {
			description = "device tree";
			data = /incbin/("board.dtb");
			type = "flat_dt";
			arch = "arm64";
			compression = "none";
			hash-1 { algo = "sha256"; };
		};
{{- end}}
	};
	configurations {
		default = "slot";
		slot {
			kernel = "kernel";
			ramdisk = "ramdisk";
{{- if .Tree}}
			fdt = "fdt";
{{- end}}
			signature-1 {
				algo = "sha256,rsa{{.Bits}}";
				key-name-hint = "{{.Key}}";
				sign-images = "kernel", "ramdisk"{{if .Tree}}, "fdt"{{end}};
			};
		};
	};
};
`))

// slot writes what a slot holds.
func (b *build) slot(ctx context.Context, r *Result) error {
	if err := b.compressKernel(); err != nil {
		return err
	}
	if err := b.deviceTree(ctx); err != nil {
		return err
	}
	var source strings.Builder
	err := fitSource.Execute(&source, map[string]any{
		"Board": b.board.Name, "Version": b.cfg.Version, "Kernel": b.kernel.Release, "Load": fmt.Sprintf("%#x", b.board.Kernel.Load),
		"Tree": b.board.Kernel.DeviceTree != "", "Bits": slotKeyBits, "Key": slotKey, "Initramfs": initramfsFile,
	})
	if err != nil {
		return err
	}
	its, itb := filepath.Join(b.work, "slot.its"), filepath.Join(b.work, "slot.itb")
	if err := os.WriteFile(its, []byte(source.String()), 0o644); err != nil {
		return err
	}
	dir, err := filepath.Abs(b.keys.dir)
	if err != nil {
		return err
	}
	if _, err := b.run(ctx, "mkimage", "-f", its, "-k", dir, "-r", itb); err != nil {
		return err
	}
	info, err := os.Stat(itb)
	if err != nil {
		return err
	}
	if r.SlotSize = info.Size(); r.SlotSize > b.sizes["slot"] {
		return fmt.Errorf("%d bytes; board.yaml's disk.slot gives %d", r.SlotSize, b.sizes["slot"])
	}
	return os.Rename(itb, r.Slot)
}

// compressKernel does it once for each kernel: it is the slowest step.
func (b *build) compressKernel() error {
	kept := filepath.Join(b.cfg.Cache, "kernel-"+b.kernel.Package.SHA256[:16]+".gz")
	if _, err := os.Stat(kept); err != nil {
		plain, err := os.ReadFile(b.kernel.Image)
		if err != nil {
			return err
		}
		if err := gzipped(kept+".new", plain); err != nil {
			return err
		}
		if err := os.Rename(kept+".new", kept); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(kept)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.work, "kernel.gz"), data, 0o644)
}

// update signs the slot's content for vehicles.
func (b *build) update(_ context.Context, r *Result) error {
	key, err := readUpdateKey(b.keys.path(updateKey + ".key"))
	if err != nil {
		return err
	}
	return writeUpdate(r.Update, r.Slot, firmware.Manifest{Board: b.board.Name, Version: b.cfg.Version, Release: b.cfg.Release}, key)
}

func writeUpdate(path, slot string, m firmware.Manifest, key *ecdsa.PrivateKey) error {
	payload, err := os.Open(slot)
	if err != nil {
		return err
	}
	defer payload.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := firmware.Sign(out, m, payload, key); err != nil {
		return err
	}
	return out.Close()
}

// readUpdateKey reads the key that signs update files.
func readUpdateKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := signed.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("update.key: %w", err)
	}
	return key, nil
}
