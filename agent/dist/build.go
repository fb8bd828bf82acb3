package main

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

// content is what the package brings beside the program.
//
//go:embed agent.yaml telltale-agent.service suspend.md postinst prerm postrm copyright
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

// made is a file that was made.
type made struct {
	name string
	size int
	sum  [32]byte
}

// build makes binaries, packages and SHA256SUMS in dir.
func build(dir, version string, epoch time.Time, names []string) ([]made, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var all []made
	for _, name := range names {
		i := slices.IndexFunc(arches(), func(a arch) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--arch %s: expected arm64, armv7 or amd64", name)
		}
		a := arches()[i]
		binary, err := compile(dir, version, a)
		if err != nil {
			return nil, err
		}
		packed, err := pack(dir, version, epoch, a, binary)
		if err != nil {
			return nil, err
		}
		all = append(all, describe(binaryName(version, a), binary), packed)
	}
	var sums strings.Builder
	for _, f := range all {
		fmt.Fprintf(&sums, "%x  %s\n", f.sum, f.name)
	}
	return all, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func describe(name string, data []byte) made { return made{name, len(data), sha256.Sum256(data)} }

func binaryName(version string, a arch) string {
	return fmt.Sprintf("telltale-agent-%s-linux-%s", version, a.name)
}

// compile builds the program and checks that nothing has to be there when it starts.
func compile(dir, version string, a arch) ([]byte, error) {
	out := filepath.Join(dir, binaryName(version, a))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X telltale.dev/protocol.stamped="+version, "-o", out, "telltale.dev/agent/cmd/telltale-agent")
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS="}, a.env...)...)
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
func pack(dir, version string, epoch time.Time, a arch, binary []byte) (made, error) {
	p := &deb.Package{
		Name: "telltale-agent", Version: version, Architecture: a.debian,
		Maintainer: "Telltale developers <developers@telltale.dev>", Section: "net", Depends: "passwd",
		Summary: "vehicle agent: CAN buses to the cloud",
		Description: []string{
			"Reads CAN buses, decodes them with DBC files, keeps what campaigns want on",
			"disk and hands it to a Telltale cloud over MQTT with mutual TLS.",
		},
		Files:   []deb.File{{Path: "/usr/bin/telltale-agent", Mode: 0o755, Data: binary}},
		Scripts: map[string]string{},
		Time:    epoch,
	}
	for name, to := range map[string]string{
		"agent.yaml":             "/etc/telltale/agent.yaml",
		"telltale-agent.service": "/usr/lib/systemd/system/telltale-agent.service",
		"suspend.md":             "/usr/share/doc/telltale-agent/suspend.md",
		"copyright":              "/usr/share/doc/telltale-agent/copyright",
	} {
		data, err := content.ReadFile(name)
		if err != nil {
			return made{}, err
		}
		p.Files = append(p.Files, deb.File{Path: to, Mode: 0o644, Config: strings.HasPrefix(to, "/etc/"), Data: data})
	}
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		text, err := content.ReadFile(name)
		if err != nil {
			return made{}, err
		}
		p.Scripts[name] = string(text)
	}
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		return made{}, err
	}
	return describe(p.FileName(), out.Bytes()), os.WriteFile(filepath.Join(dir, p.FileName()), out.Bytes(), 0o644)
}

// base is the version that the next release will have.
const base = "0.1.0"

// commit gives version and time of what is checked out. A tag v1.2.3 is version 1.2.3.
func commit() (version string, epoch int64, err error) {
	git := func(args ...string) string {
		out, gitErr := exec.Command("git", args...).Output()
		if gitErr != nil && err == nil {
			err = fmt.Errorf("git %s: %w: expected a checkout, or --version and --epoch", args[0], gitErr)
		}
		return strings.TrimSpace(string(out))
	}
	count, hash := git("rev-list", "--count", "HEAD"), git("rev-parse", "--short=10", "HEAD")
	seconds, changed := git("log", "-1", "--format=%ct"), git("status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return "", 0, err
	}
	version = fmt.Sprintf("%s~git%s.%s", base, count, hash)
	if tag, err := exec.Command("git", "describe", "--tags", "--exact-match", "--match", "v[0-9]*").Output(); err == nil {
		version = strings.TrimPrefix(strings.TrimSpace(string(tag)), "v")
	}
	if changed != "" {
		version += "+changed"
	}
	if epoch, err = strconv.ParseInt(seconds, 10, 64); err != nil {
		return "", 0, errors.Join(errors.New("time of the commit"), err)
	}
	return version, epoch, nil
}
