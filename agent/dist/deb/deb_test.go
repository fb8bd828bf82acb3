package deb_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale.dev/agent/dist/deb"
)

func sample() *deb.Package {
	return &deb.Package{
		Name: "sample", Version: "1.2.3~git4.abc", Architecture: "all", Maintainer: "Somebody <a@b.c>", Section: "misc", Depends: "passwd",
		Summary: "a sample", Description: []string{"Two lines", "", "and a paragraph."},
		Files: []deb.File{
			{Path: "/usr/bin/sample", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
			{Path: "/etc/sample/conf", Mode: 0o640, Config: true, Data: []byte("odd")},
		},
		Scripts: map[string]string{"postinst": "#!/bin/sh\ntrue\n", "prerm": "#!/bin/sh\n"},
		Time:    time.Unix(1_700_000_000, 0),
	}
}

func write(t *testing.T, p *deb.Package) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestForm reads the archive as deb(5) describes it.
func TestForm(t *testing.T) {
	data := write(t, sample())
	if again := write(t, sample()); !bytes.Equal(data, again) {
		t.Error("written twice: the bytes differ")
	}
	rest, ok := bytes.CutPrefix(data, []byte("!<arch>\n"))
	if !ok {
		t.Fatal("no ar archive")
	}
	var names []string
	members := map[string][]byte{}
	for len(rest) > 0 {
		var size int
		if _, err := fmt.Sscanf(string(rest[48:58]), "%d", &size); err != nil || string(rest[58:60]) != "`\n" {
			t.Fatalf("header %q: %v", rest[:60], err)
		}
		name := strings.TrimSpace(string(rest[:16]))
		names, members[name] = append(names, name), rest[60:60+size]
		rest = rest[60+size+size%2:]
	}
	if want := []string{"debian-binary", "control.tar.gz", "data.tar.gz"}; !slices.Equal(names, want) || string(members["debian-binary"]) != "2.0\n" {
		t.Fatalf("members: got %q, want %q", names, want)
	}
	if got, want := list(t, members["data.tar.gz"]), []string{
		"./ 755", "./etc/ 755", "./etc/sample/ 755", "./etc/sample/conf 640", "./usr/ 755", "./usr/bin/ 755", "./usr/bin/sample 755",
	}; !slices.Equal(got, want) {
		t.Errorf("data: got %q, want %q", got, want)
	}
	if got, want := list(t, members["control.tar.gz"]), []string{
		"./ 755", "./conffiles 644", "./control 644", "./md5sums 644", "./postinst 755", "./prerm 755",
	}; !slices.Equal(got, want) {
		t.Errorf("control: got %q, want %q", got, want)
	}
}

// list gives name and mode of each member of a packed tar file.
func list(t *testing.T, packed []byte) (all []string) {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 1_700_000_000 || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: got %v, %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
		all = append(all, fmt.Sprintf("%s %o", h.Name, h.Mode))
	}
}

// TestDpkgReadsIt: Debian's own tool takes it.
func TestDpkgReadsIt(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("dpkg-deb is not installed")
	}
	p := sample()
	name := filepath.Join(t.TempDir(), p.FileName())
	if err := os.WriteFile(name, write(t, p), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--field %s Package":      "sample\n",
		"--field %s Version":      "1.2.3~git4.abc\n",
		"--field %s Description":  "a sample\n Two lines\n .\n and a paragraph.\n",
		"--info %s conffiles":     "/etc/sample/conf\n",
		"--info %s md5sums":       "3e2b31c72181b87149ff995e7202c0e3  usr/bin/sample\n",
		"--field %s Architecture": "all\n",
	} {
		out, err := exec.Command("dpkg-deb", strings.Fields(fmt.Sprintf(args, name))...).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: got %q, %v, want %q", args, out, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for says, change := range map[string]func(*deb.Package){
		"name: expected":               func(p *deb.Package) { p.Name = "Sample" },
		"version: expected":            func(p *deb.Package) { p.Version = "v1" },
		"architecture: expected":       func(p *deb.Package) { p.Architecture = "" },
		"summary: expected one line":   func(p *deb.Package) { p.Summary = "a\nb" },
		"time: expected":               func(p *deb.Package) { p.Time = time.Time{} },
		`file "usr/x": expected`:       func(p *deb.Package) { p.Files[0].Path = "usr/x" },
		`file "/usr/../x": expected`:   func(p *deb.Package) { p.Files[0].Path = "/usr/../x" },
		`file "/etc/sample/conf": exp`: func(p *deb.Package) { p.Files[0].Path = "/etc/sample/conf" },
		`script "install": expected`:   func(p *deb.Package) { p.Scripts["install"] = "" },
	} {
		p := sample()
		change(p)
		if err := p.Write(io.Discard); err == nil || !strings.HasPrefix(err.Error(), "deb: "+says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
