package dist

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale.dev/agent/dist/deb"
)

// tool skips the test when a tool is not installed; in CI it must be.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name+" is not installed")
	}
}

func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// own is the architecture of this machine, whose program the tests can run.
func own(t *testing.T) arch {
	t.Helper()
	i := slices.IndexFunc(arches(), func(a arch) bool { return a.debian == runtime.GOARCH })
	if i < 0 {
		t.Skip("no package for " + runtime.GOARCH)
	}
	return arches()[i]
}

const testVersion = "1.2.3~test"

var epoch = time.Unix(1_700_000_000, 0)

// workshop is where it is made; it goes when the tests end.
var workshop = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "telltale-dist-") })

// distribution is made once for all tests.
var distribution = sync.OnceValues(func() (string, error) {
	dir, err := workshop()
	if err != nil {
		return "", err
	}
	_, err = Build(dir, testVersion, epoch, []string{map[string]string{"amd64": "amd64", "arm64": "arm64"}[runtime.GOARCH]}, "telltale-agent")
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := workshop(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// madeFiles gives the paths of program and package.
func madeFiles(t *testing.T) (program, pkg string) {
	t.Helper()
	a := own(t)
	dir, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, binaryName(testVersion, products()[0], a)), filepath.Join(dir, "telltale-agent_"+testVersion+"_"+a.debian+".deb")
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestProgram: it runs, knows its version, and the sums are right.
func TestProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine: nothing for the race detector, under which it is slow")
	}
	program, pkg := madeFiles(t)
	if got := run(t, program, "version"); got != testVersion+"\n" {
		t.Errorf("version: got %q, want %q", got, testVersion)
	}
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(pkg), "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{program, pkg} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d bytes %s", len(data), filepath.Base(name))
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.Base(name)); !strings.Contains(string(sums), line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
	}
}

// TestReproducible: another folder with the same source gives the same bytes.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds twice")
	}
	program, pkg := madeFiles(t)
	elsewhere, out := copySource(t), t.TempDir()
	cmd := exec.Command("go", "run", "./agent/dist/cmd/telltale-dist", "--out", out, "--version", testVersion, "--epoch", fmt.Sprint(epoch.Unix()), "--arch", own(t).name, "--product", "telltale-agent")
	cmd.Dir = elsewhere
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range []string{program, pkg} {
		first, err1 := os.ReadFile(name)
		second, err2 := os.ReadFile(filepath.Join(out, filepath.Base(name)))
		if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
			t.Errorf("%s differs (%v, %v)", filepath.Base(name), err1, err2)
		}
	}
}

// copySource copies what the agent is built from to another folder.
func copySource(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	root := filepath.Join("..", "..")
	for _, part := range []string{"go.mod", "go.sum", "agent", "hal", "protocol"} {
		run(t, "cp", "-r", filepath.Join(root, part), to)
	}
	return to
}

// TestRefusals: what is not a static, stripped program for the architecture is not given to others.
func TestRefusals(t *testing.T) {
	program, _ := madeFiles(t)
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := static(data, own(t)); err != nil {
		t.Errorf("our own: %v", err)
	}
	other := arches()[1] // armv7
	if err := static(data, other); err == nil || !strings.Contains(err.Error(), "armv7: built for") {
		t.Errorf("another machine: got %v", err)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	cmd := exec.Command("go", "build", "-o", whole, "./cmd/telltale-dist")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	symbols, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := static(symbols, own(t)); err == nil || !strings.Contains(err.Error(), "expected a stripped program") {
		t.Errorf("not stripped: got %v", err)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	if err := static(shell, own(t)); err == nil || !strings.Contains(err.Error(), "expected a static program") {
		t.Errorf("not static: got %v", err)
	}
	if _, err := Build(t.TempDir(), testVersion, epoch, []string{"mips"}, "telltale-agent"); err == nil || !strings.Contains(err.Error(), "--arch mips: expected arm64, armv7 or amd64") {
		t.Errorf("unknown architecture: got %v", err)
	}
	if _, err := Build(t.TempDir(), testVersion, epoch, []string{"arm64"}, "tellme"); err == nil || !strings.Contains(err.Error(), "--product tellme: expected telltale-agent") {
		t.Errorf("unknown program: got %v", err)
	}
}

// system is a Debian system's folder with nothing in it but accounts and an empty package database.
func system(t *testing.T) (root string, dpkg func(args ...string) string) {
	t.Helper()
	for _, name := range []string{"dpkg", "dpkg-deb", "useradd"} {
		tool(t, name)
	}
	if os.Geteuid() != 0 {
		missing(t, "installing a package needs root")
	}
	root = t.TempDir()
	for _, dir := range []string{"etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:19000::::::\n", "etc/gshadow": "",
		"var/lib/dpkg/status": "", "var/lib/dpkg/available": "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, func(args ...string) string {
		t.Helper()
		return run(t, "dpkg", append([]string{"--root=" + root, "--force-depends", "--force-script-chrootless", "--force-confold"}, args...)...)
	}
}

func exists(root, name string) bool {
	_, err := os.Lstat(filepath.Join(root, name))
	return err == nil
}

// TestInstall: installed, changed, upgraded, removed, purged, by dpkg itself.
func TestInstall(t *testing.T) {
	_, pkg := madeFiles(t)
	root, dpkg := system(t)
	if out := dpkg("-i", pkg); !strings.Contains(out, "telltale-agent: write /etc/telltale/agent.yaml") {
		t.Errorf("the first install says nothing of what comes next:\n%s", out)
	}
	if got := run(t, filepath.Join(root, "usr/bin/telltale-agent"), "version"); got != testVersion+"\n" {
		t.Errorf("version: got %q", got)
	}
	accounts, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^telltale:x:\d+:\d+::/var/lib/telltale:/usr/sbin/nologin$`).Match(accounts) {
		t.Errorf("account: got %s, %v", accounts, err)
	}
	if info, err := os.Stat(filepath.Join(root, "etc/telltale/identity")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("identity: got %v, %v, want mode 750", info, err)
	}
	if out := dpkg("--verify", "telltale-agent"); out != "" {
		t.Errorf("dpkg --verify: %s", out)
	}

	// What the administrator wrote, the identity and the data survive an upgrade and a removal.
	conf := filepath.Join(root, "etc/telltale/agent.yaml")
	for name, text := range map[string]string{conf: "mine\n", filepath.Join(root, "etc/telltale/identity/device.key"): "key\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/telltale/buffer"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out := dpkg("-i", pkg); strings.Contains(out, "write /etc/telltale/agent.yaml") {
		t.Errorf("an upgrade speaks as a first install:\n%s", out)
	}
	dpkg("-r", "telltale-agent")
	if text, err := os.ReadFile(conf); err != nil || string(text) != "mine\n" {
		t.Errorf("configuration after removal: got %q, %v", text, err)
	}
	if exists(root, "usr/bin/telltale-agent") || exists(root, "usr/lib/systemd/system/telltale-agent.service") || !exists(root, "var/lib/telltale/buffer") {
		t.Error("removal: expected program and unit to be gone, and the data to stay")
	}
	dpkg("-P", "telltale-agent")
	if exists(root, "etc/telltale/agent.yaml") || exists(root, "var/lib/telltale") || !exists(root, "etc/telltale/identity/device.key") {
		t.Error("purge: expected configuration and data to be gone, and the identity to stay")
	}
}

// maxExposure is the worst rating of the unit's hardening, of systemd-analyze security: 10 is none at all.
const maxExposure = "25" // tenths

// TestUnit: systemd understands all of each unit, and rates its hardening.
func TestUnit(t *testing.T) {
	tool(t, "systemd-analyze")
	program, _ := madeFiles(t)
	for name, file := range map[string]string{"telltale-agent": "telltale-agent.service", "telltale-cloud": "cloud/telltale-cloud.service"} {
		text, err := content.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		unit := filepath.Join(t.TempDir(), name+".service")
		here := bytes.ReplaceAll(text, []byte("/usr/bin/"+name), []byte(program)) // verify wants it to be there
		if err := os.WriteFile(unit, here, 0o644); err != nil {
			t.Fatal(err)
		}
		if out := run(t, "systemd-analyze", "verify", "--man=no", unit); strings.Contains(out, name+".service") {
			t.Errorf("systemd-analyze verify:\n%s", out)
		}
		out := run(t, "systemd-analyze", "security", "--offline=yes", "--threshold="+maxExposure, unit)
		t.Log(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
	}
}

// TestCommit: a checkout says its version, in Debian's form.
func TestCommit(t *testing.T) {
	tool(t, "git")
	version, seconds, err := Commit()
	if err != nil {
		missing(t, err.Error())
	}
	if !regexp.MustCompile(`^\d[0-9A-Za-z.+~-]*$`).MatchString(version) || seconds < 1_700_000_000 {
		t.Errorf("got %q, %d", version, seconds)
	}
}

// TestPackages: each package brings its program, its licences and, when it is a service, a unit whose files are
// for nobody else's eyes; nothing that is secret is in any, and nobody but root may write them.
func TestPackages(t *testing.T) {
	for _, p := range products() {
		files, err := p.contents(own(t), testVersion, []byte("program"))
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := p.maintainerScripts()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, f := range files {
			found[f.Path] = string(f.Data)
			if f.Mode&0o022 != 0 || strings.Contains(string(f.Data), "PRIVATE KEY") || strings.HasPrefix(f.Path, "/etc/telltale/identity") {
				t.Errorf("%s: %s with mode %o should not be in a package", p.name, f.Path, f.Mode)
			}
			if f.Config != strings.HasPrefix(f.Path, "/etc/") {
				t.Errorf("%s: %s: got configuration file %v", p.name, f.Path, f.Config)
			}
		}
		doc := "/usr/share/doc/" + p.name
		if found["/usr/bin/"+p.name] == "" || found[doc+"/copyright"] == "" || !strings.Contains(found[doc+"/THIRD-PARTY"], "golang.org/x/sys v") {
			t.Errorf("%s: program, copyright or licences are missing", p.name)
		}
		unit := found["/usr/lib/systemd/system/"+p.name+".service"]
		if (unit != "") != (len(scripts) == 3) {
			t.Errorf("%s: got %d scripts, and a unit of %d bytes", p.name, len(scripts), len(unit))
		}
		if unit != "" && (!strings.Contains(unit, "\nUMask=0077\n") || !strings.Contains(unit, "\nStateDirectoryMode=0700\n") || !strings.Contains(unit, "/usr/bin/"+p.name+" ")) {
			t.Errorf("%s: the unit is not as expected", p.name)
		}
	}
}

// TestPrinted: the package of the command line brings a manual page of this version and the completion, the same each time.
func TestPrinted(t *testing.T) {
	p, err := find("telltale")
	if err != nil {
		t.Fatal(err)
	}
	var packed [2][]byte
	for i := range packed {
		man, err := p.printed(testVersion, "man")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(man), `.TH "TELLTALE" "1" "" "telltale 1.2.3~test"`) || !strings.Contains(string(man), "\n.SS \"telltale campaign push ") {
			t.Errorf("got a manual page that begins with %.100q, want this version and the commands", man)
		}
		if packed[i], err = compressed(man); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed[i][4:8], make([]byte, 4)) { // RFC 1952, 2.3: MTIME
			t.Error("the compressed page has a time")
		}
		text, err := gzip.NewReader(bytes.NewReader(packed[i]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(text); err != nil || !bytes.Equal(got, man) {
			t.Errorf("got %d bytes and %v of the compressed page, want the %d that were printed", len(got), err, len(man))
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("got two different manual pages of one version")
	}
	files, err := p.contents(own(t), testVersion, []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		path string
		data []byte
	}{
		{"/usr/share/man/man1/telltale.1.gz", packed[0]},
		{"/usr/share/bash-completion/completions/telltale", []byte("# bash completion for telltale")},
	} {
		if !slices.ContainsFunc(files, func(f deb.File) bool {
			return f.Path == want.path && f.Mode == 0o644 && !f.Config && bytes.HasPrefix(f.Data, want.data)
		}) {
			t.Errorf("%s is missing, or not what the program prints", want.path)
		}
	}
	if _, err := p.printed(testVersion, "nonsense"); err == nil || !strings.Contains(err.Error(), "unexpected argument nonsense") {
		t.Errorf("a command that there is not: got %v, want what the program said", err)
	}
}
