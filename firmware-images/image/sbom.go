package image

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"telltale.dev/firmware-images/debian"
)

// The parts of SPDX 2.3 that we write (spdx.github.io/spdx-spec/v2.3).
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		License       string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Files         []spdxFile         `json:"files"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID        string          `json:"SPDXID"`
		Name      string          `json:"name"`
		Version   string          `json:"versionInfo"`
		Download  string          `json:"downloadLocation"`
		Analyzed  bool            `json:"filesAnalyzed"`
		Checksums []spdxChecksum  `json:"checksums,omitempty"`
		Refs      []spdxReference `json:"externalRefs,omitempty"`
	}
	spdxFile struct {
		ID        string         `json:"SPDXID"`
		Name      string         `json:"fileName"`
		Checksums []spdxChecksum `json:"checksums"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxReference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

// Identifiers of the document and of what it describes.
const (
	spdxSelf  = "SPDXRef-DOCUMENT"
	spdxImage = "SPDXRef-Image"
)

// notInID are the characters that an identifier cannot have.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func spdxID(kind, name string) string {
	return "SPDXRef-" + kind + "-" + notInID.ReplaceAllString(name, "-")
}

// sbom writes the bill of materials: Debian's packages with the sums of their
// files, the Go modules that the programs say they were built from, and what came out.
func (b *build) sbom(_ context.Context, r *Result) error {
	doc := &spdxDocument{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: spdxSelf, Name: "telltale-" + b.board.Name,
		Namespace: fmt.Sprintf("https://telltale.dev/spdx/%s/%s-%d", b.board.Name, b.cfg.Version, b.cfg.Release),
		Creation:  spdxCreation{b.cfg.Epoch.UTC().Format(time.RFC3339), []string{"Tool: telltale-image"}},
		Packages:  []spdxPackage{{ID: spdxImage, Name: "telltale-" + b.board.Name, Version: b.cfg.Version, Download: "NOASSERTION"}},
	}
	doc.relate(spdxSelf, "DESCRIBES", spdxImage)
	for _, p := range append(slices.Clone(b.used), b.boot...) {
		doc.debian(p)
	}
	modules := map[string]*debug.Module{}
	for _, name := range slices.Sorted(maps.Keys(b.goes)) {
		info, err := buildinfo.ReadFile(b.goes[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		modules["std"] = &debug.Module{Path: "std", Version: info.GoVersion}
		modules[info.Main.Path] = &debug.Module{Path: info.Main.Path, Version: b.cfg.Version}
		for _, m := range info.Deps {
			modules[m.Path] = m
		}
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		doc.goModule(modules[path])
	}
	for _, path := range []string{r.Slot, r.UBoot, r.Control, r.Disk, r.Update} {
		if path == "" {
			continue
		}
		if err := doc.file(path); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(r.SBOM, append(text, '\n'), 0o644)
}

func (d *spdxDocument) relate(from, kind, to string) {
	d.Relationships = append(d.Relationships, spdxRelationship{from, kind, to})
}

func (d *spdxDocument) debian(p debian.Package) {
	id := spdxID("Debian", p.Name)
	d.Packages = append(d.Packages, spdxPackage{
		ID: id, Name: p.Name, Version: p.Version, Download: "NOASSERTION", Checksums: []spdxChecksum{{"SHA256", p.SHA256}},
		Refs: []spdxReference{{"PACKAGE-MANAGER", "purl", purl("deb/debian/%s@%s?arch=%s", p.Name, p.Version, p.Arch)}},
	})
	d.relate(spdxImage, "CONTAINS", id)
}

// purl makes a package URL. Of what names and versions of Debian and Go hold only
// the plus must be encoded (package-url specification, Rules for each component).
func purl(format string, parts ...any) string {
	return "pkg:" + strings.ReplaceAll(fmt.Sprintf(format, parts...), "+", "%2B")
}

func (d *spdxDocument) goModule(m *debug.Module) {
	id := spdxID("Go", m.Path)
	d.Packages = append(d.Packages, spdxPackage{
		ID: id, Name: m.Path, Version: m.Version, Download: "NOASSERTION",
		Refs: []spdxReference{{"PACKAGE-MANAGER", "purl", purl("golang/%s@%s", m.Path, m.Version)}},
	})
	d.relate(spdxImage, "CONTAINS", id)
}

func (d *spdxDocument) file(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, second := sha1.Sum(data), sha256.Sum256(data)
	name := filepath.Base(path)
	d.Files = append(d.Files, spdxFile{spdxID("File", name), "./" + name, []spdxChecksum{
		{"SHA1", hex.EncodeToString(first[:])}, {"SHA256", hex.EncodeToString(second[:])},
	}})
	d.relate(spdxImage, "GENERATES", spdxID("File", name))
	return nil
}
