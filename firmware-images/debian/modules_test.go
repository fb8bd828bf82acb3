package debian_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/firmware-images/debian"
)

// object builds a kernel module that has nothing but a section .modinfo.
func object(t testing.TB, modinfo string) []byte {
	t.Helper()
	const names = "\x00.modinfo\x00.shstrtab\x00"
	const head, section = 64, 64
	body := head + 3*section
	var out bytes.Buffer
	for _, part := range []any{
		elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_AARCH64), Version: 1, Shoff: head, Ehsize: head,
			Shentsize: section, Shnum: 3, Shstrndx: 2},
		elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: uint64(body), Size: uint64(len(modinfo))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(body + len(modinfo)), Size: uint64(len(names))},
		[]byte(modinfo + names),
	} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func TestModuleDepends(t *testing.T) {
	for name, c := range map[string]struct {
		modinfo string
		want    []string
	}{
		"none":    {modinfo: "license=GPL\x00depends=\x00name=can\x00"},
		"one":     {modinfo: "depends=can\x00license=GPL\x00", want: []string{"can"}},
		"several": {modinfo: "parm=depends:x\x00depends=can,can-dev,rng_core\x00", want: []string{"can", "can_dev", "rng_core"}},
		"absent":  {modinfo: "license=GPL\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := debian.ModuleDepends(object(t, c.modinfo))
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	if _, err := debian.ModuleDepends([]byte("not an object")); err == nil || !strings.Contains(err.Error(), "expected an ELF file") {
		t.Errorf("no ELF file: got %v", err)
	}
}

// tree lays out a kernel package with modules of the given dependencies; a
// file name that ends in .xz is compressed.
func tree(t *testing.T, builtin string, modules map[string]string) *debian.Kernel {
	t.Helper()
	k := &debian.Kernel{Release: "6.1.0-test", Dir: t.TempDir()}
	dir := filepath.Join(k.Dir, "lib", "modules", k.Release)
	for name, depends := range modules {
		path := filepath.Join(dir, "kernel", "net", strings.TrimSuffix(name, ".xz"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, object(t, "depends="+depends+"\x00"), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".xz") {
			if out, err := exec.Command("xz", path).CombinedOutput(); err != nil {
				t.Fatalf("xz: %v: %s", err, out)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(builtin), 0o644); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestModulesComeBehindWhatTheyNeed(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the program xz is not installed")
	}
	k := tree(t, "kernel/lib/crc16.ko\n", map[string]string{
		"can.ko": "", "can-dev.ko.xz": "can", "can-raw.ko": "can,crc16", "vcan.ko": "can-dev,can", "unused.ko": "",
	})
	loaded, err := k.Modules(t.Context(), "vcan", "can_raw", "can", "crc16")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range loaded {
		names = append(names, m.Name)
		if !bytes.HasPrefix(m.Data, []byte("\x7fELF")) {
			t.Errorf("%s: expected an ELF file, got %.8q", m.Name, m.Data)
		}
	}
	if want := []string{"can", "can_dev", "vcan", "can_raw"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestMissingModules(t *testing.T) {
	k := tree(t, "", map[string]string{"a.ko": "b", "b.ko": "a,c"})
	for name, want := range map[string]string{"none": "module none:", "a": "module a → b → c:"} {
		if _, err := k.Modules(t.Context(), name); !errors.Is(err, debian.ErrNoModule) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrNoModule and %q", name, err, want)
		}
	}
}

func FuzzModuleDepends(f *testing.F) {
	f.Add(object(f, "depends=can,can-dev\x00"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, module []byte) {
		depends, err := debian.ModuleDepends(module)
		for _, d := range depends {
			if err != nil || d == "" || strings.ContainsAny(d, ",-\x00") {
				t.Errorf("got %q, %v", d, err)
			}
		}
	})
}
