package dist

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale.dev/agent/dist/deb"
)

// content is what the packages bring beside the programs.
//
//go:embed agent.yaml telltale-agent.service suspend.md postinst prerm postrm copyright cloud
var content embed.FS

// arch is an architecture in three languages.
type arch struct {
	name, debian string
	env          []string
	machine      elf.Machine
}

func arches() []arch {
	return []arch{
		{"arm64", "arm64", []string{"GOARCH=arm64"}, elf.EM_AARCH64},
		{"armv7", "armhf", []string{"GOARCH=arm", "GOARM=7"}, elf.EM_ARM},
		{"amd64", "amd64", []string{"GOARCH=amd64", "GOAMD64=v1"}, elf.EM_X86_64},
	}
}

// Made is a file that was made.
type Made struct {
	Name string
	Size int // bytes
	sum  [32]byte
}

// Build makes binaries and packages of the programs, and SHA256SUMS, in dir.
func Build(dir, version string, epoch time.Time, names []string, programs ...string) ([]Made, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var all []Made
	for _, name := range names {
		i := slices.IndexFunc(arches(), func(a arch) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--arch %s: expected arm64, armv7 or amd64", name)
		}
		for _, program := range programs {
			p, err := find(program)
			if err != nil {
				return nil, err
			}
			binary, err := compile(dir, version, p, arches()[i])
			if err != nil {
				return nil, err
			}
			packed, err := pack(dir, version, epoch, p, arches()[i], binary)
			if err != nil {
				return nil, err
			}
			all = append(all, describe(binaryName(version, p, arches()[i]), binary), packed)
		}
	}
	var sums strings.Builder
	for _, f := range all {
		fmt.Fprintf(&sums, "%x  %s\n", f.sum, f.Name)
	}
	return all, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func describe(name string, data []byte) Made { return Made{name, len(data), sha256.Sum256(data)} }

func binaryName(version string, p product, a arch) string {
	return fmt.Sprintf("%s-%s-linux-%s", p.name, version, a.name)
}

// stamp is what the linker is told: no symbols, and the version.
func stamp(version string) string {
	return "-s -w -buildid= -X telltale.dev/protocol.stamped=" + version
}

// compile builds the program and checks that nothing has to be there when it starts.
func compile(dir, version string, p product, a arch) ([]byte, error) {
	out := filepath.Join(dir, binaryName(version, p, a))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", stamp(version), "-o", out, p.pkg)
	cmd.Env = a.environment()
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: go build: %w\n%s", a.name, err, text)
	}
	binary, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return binary, static(binary, a)
}

// static says why the program is not one that starts on a bare kernel, or nil.
func static(binary []byte, a arch) error {
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	if f.Machine != a.machine {
		return fmt.Errorf("%s: built for %v", a.name, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("%s: expected a static program, found %v", a.name, p.Type)
		}
	}
	if f.Section(".debug_info") != nil || f.Section(".symtab") != nil {
		return fmt.Errorf("%s: expected a stripped program", a.name)
	}
	return nil
}

// pack writes the Debian package.
func pack(dir, version string, epoch time.Time, of product, a arch, binary []byte) (Made, error) {
	p := &deb.Package{
		Name: of.name, Version: version, Architecture: a.debian,
		Maintainer: "Telltale developers <developers@telltale.dev>", Section: "net",
		Summary: of.summary, Description: of.description, Time: epoch,
	}
	if of.scripts != "" {
		p.Depends = "passwd"
	}
	var err error
	if p.Files, err = of.contents(a, version, binary); err != nil {
		return Made{}, err
	}
	if p.Scripts, err = of.maintainerScripts(); err != nil {
		return Made{}, err
	}
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		return Made{}, err
	}
	return describe(p.FileName(), out.Bytes()), os.WriteFile(filepath.Join(dir, p.FileName()), out.Bytes(), 0o644)
}

// Commit gives version and time of what is checked out; .ci/version says how a version is made.
func Commit() (version string, epoch int64, err error) {
	said := func(name string, args ...string) string {
		out, sayErr := exec.Command(name, args...).Output()
		if sayErr != nil && err == nil {
			err = fmt.Errorf("%s %s: %w: expected a checkout, or --version and --epoch", name, args[0], sayErr)
		}
		return strings.TrimSpace(string(out))
	}
	root, seconds := said("git", "rev-parse", "--show-toplevel"), said("git", "log", "-1", "--format=%ct")
	version = said("sh", filepath.Join(root, ".ci", "version"), root)
	if err != nil {
		return "", 0, err
	}
	if epoch, err = strconv.ParseInt(seconds, 10, 64); err != nil {
		return "", 0, errors.Join(errors.New("time of the commit"), err)
	}
	return version, epoch, nil
}
