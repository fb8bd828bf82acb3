// Package deb writes Debian binary packages (deb(5), format 2.0): the same bytes for
// the same content, on any machine, without any of Debian's tools.
//
// It exists since the format is an ar archive of three members and two tar files, which
// the standard library writes; the packagers for Go bring some forty modules. It knows no
// package of ours.
package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5" // the format of md5sums, which dpkg --verify reads
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// File is one file of a package. Folders above it are made, root's and readable by all.
type File struct {
	Path   string // absolute
	Mode   fs.FileMode
	Config bool // a conffile: what the administrator changed stays
	Data   []byte
}

// Package is what Write writes.
type Package struct {
	Name, Version, Architecture string // Debian's words, such as armhf
	Maintainer, Section         string
	Depends                     string // may be empty
	Summary                     string // one line
	Description                 []string
	Files                       []File
	// Scripts are the maintainer scripts: preinst, postinst, prerm, postrm.
	Scripts map[string]string
	// Time is that of everything in the package.
	Time time.Time
}

// FileName is how packages are named.
func (p *Package) FileName() string {
	return fmt.Sprintf("%s_%s_%s.deb", p.Name, p.Version, p.Architecture)
}

// Write writes the package. The error names the field that is wrong.
func (p *Package) Write(w io.Writer) error {
	if err := p.check(); err != nil {
		return err
	}
	files := slices.Clone(p.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	control, err := p.controlTar(files)
	if err != nil {
		return err
	}
	data, err := p.tar(files)
	if err != nil {
		return err
	}
	return p.ar(w, []member{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}})
}

// check finds what dpkg would refuse.
func (p *Package) check() error {
	for field, value := range map[string]string{
		"name": p.Name, "version": p.Version, "architecture": p.Architecture, "maintainer": p.Maintainer, "section": p.Section, "summary": p.Summary,
	} {
		if value == "" || strings.ContainsAny(value, "\n\r") {
			return fmt.Errorf("deb: %s: expected one line, found %q", field, value)
		}
	}
	if strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return fmt.Errorf("deb: name: expected lower-case letters, digits, +, - and ., found %q", p.Name)
	}
	if p.Version[0] < '0' || p.Version[0] > '9' || strings.Trim(p.Version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-~") != "" {
		return fmt.Errorf("deb: version: expected a digit, then letters, digits, ., +, - and ~, found %q", p.Version)
	}
	if p.Time.IsZero() {
		return errors.New("deb: time: expected one")
	}
	seen := map[string]bool{}
	for _, f := range p.Files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || seen[f.Path] {
			return fmt.Errorf("deb: file %q: expected an absolute path, once", f.Path)
		}
		seen[f.Path] = true
	}
	for name := range p.Scripts {
		if !slices.Contains([]string{"preinst", "postinst", "prerm", "postrm"}, name) {
			return fmt.Errorf("deb: script %q: expected preinst, postinst, prerm or postrm", name)
		}
	}
	return nil
}

// control is the text of the control file.
func (p *Package) control() string {
	size := 0
	for _, f := range p.Files {
		size += (len(f.Data) + 1023) / 1024
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: %s\nInstalled-Size: %d\n", p.Name, p.Version, p.Architecture, p.Maintainer, size)
	if p.Depends != "" {
		fmt.Fprintf(&b, "Depends: %s\n", p.Depends)
	}
	fmt.Fprintf(&b, "Section: %s\nPriority: optional\nDescription: %s\n", p.Section, p.Summary)
	for _, line := range p.Description {
		if line == "" {
			line = "."
		}
		fmt.Fprintf(&b, " %s\n", line)
	}
	return b.String()
}

func (p *Package) controlTar(files []File) ([]byte, error) {
	var sums, conf strings.Builder
	for _, f := range files {
		if f.Config {
			fmt.Fprintln(&conf, f.Path)
			continue
		}
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.Data), f.Path[1:])
	}
	list := []File{{Path: "/control", Mode: 0o644, Data: []byte(p.control())}, {Path: "/md5sums", Mode: 0o644, Data: []byte(sums.String())}}
	if conf.Len() > 0 {
		list = append(list, File{Path: "/conffiles", Mode: 0o644, Data: []byte(conf.String())})
	}
	for name, text := range p.Scripts {
		list = append(list, File{Path: "/" + name, Mode: 0o755, Data: []byte(text)})
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return p.tar(list)
}

// tar packs files with the folders above them.
func (p *Package) tar(files []File) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	made := map[string]bool{}
	for _, f := range files {
		if err := p.folders(w, path.Dir(f.Path), made); err != nil {
			return nil, err
		}
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: "." + f.Path, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)),
			ModTime: p.Time, Uname: "root", Gname: "root", Format: tar.FormatGNU,
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("deb: %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("deb: %s: %w", f.Path, err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("deb: %w", err)
	}
	return out.Bytes(), nil
}

// folders writes a folder and those above it, once each.
func (p *Package) folders(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if dir != "/" {
		if err := p.folders(w, path.Dir(dir), made); err != nil {
			return err
		}
	}
	err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimSuffix("."+dir, "/") + "/", Mode: 0o755,
		ModTime: p.Time, Uname: "root", Gname: "root", Format: tar.FormatGNU,
	})
	if err != nil {
		return fmt.Errorf("deb: %s: %w", dir, err)
	}
	return nil
}

// member is one of an ar archive.
type member struct {
	name string
	data []byte
}

// ar writes an archive of the common form: a header of 60 bytes, and an even length.
func (p *Package) ar(w io.Writer, members []member) error {
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, p.Time.Unix(), 0, 0, "100644", len(m.data))
		out.Write(m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}
