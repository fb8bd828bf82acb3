package initramfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"telltale.dev/firmware-images/initramfs"
)

// member is a file as read back from an archive.
type member struct {
	inode, mode, links, major, minor uint64
	data                             string
}

// read takes an archive apart, following the kernel's description of the format.
func read(t *testing.T, archive []byte) (names []string, members map[string]member) {
	t.Helper()
	members = map[string]member{}
	for at := 0; ; {
		if at+110 > len(archive) {
			t.Fatalf("archive ends at %d without a trailer", len(archive))
		}
		head := string(archive[at : at+110])
		if head[:6] != "070701" {
			t.Fatalf("magic at %d is %q", at, head[:6])
		}
		var field [13]uint64
		for i := range field {
			n, err := strconv.ParseUint(head[6+8*i:14+8*i], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = n
		}
		nameSize, size := int(field[11]), int(field[6])
		name := string(archive[at+110 : at+110+nameSize-1])
		body := (at + 110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			if body != len(archive) {
				t.Errorf("%d bytes behind the trailer", len(archive)-body)
			}
			return names, members
		}
		names = append(names, name)
		members[name] = member{inode: field[0], mode: field[1], links: field[4], major: field[9], minor: field[10],
			data: string(archive[body : body+size])}
		at = (body + size + 3) &^ 3
	}
}

func write(t *testing.T, a *initramfs.Archive) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := a.WriteTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(out.Len()) {
		t.Errorf("WriteTo says %d bytes, wrote %d", n, out.Len())
	}
	return out.Bytes()
}

func fill(a *initramfs.Archive) {
	a.File("init", 0o755, []byte("#!x"))
	a.File("etc/hosts", 0o644, []byte("hosts"))
	a.CharDevice("dev/console", 0o600, 5, 1)
	a.BlockDevice("dev/vda", 0o660, 254, 0)
	a.Symlink("bin/sh", "/init")
	a.Dir("tmp", 0o777)
}

func TestArchiveReadsBack(t *testing.T) {
	a := &initramfs.Archive{}
	fill(a)
	names, members := read(t, write(t, a))
	if got, want := strings.Join(names, " "), "bin bin/sh dev dev/console dev/vda etc etc/hosts init tmp"; got != want {
		t.Errorf("names: got %s, want %s", got, want)
	}
	for name, want := range map[string]member{
		"init":        {mode: 0o100755, links: 1, data: "#!x"},
		"etc":         {mode: 0o040755, links: 2},
		"etc/hosts":   {mode: 0o100644, links: 1, data: "hosts"},
		"dev/console": {mode: 0o020600, links: 1, major: 5, minor: 1},
		"dev/vda":     {mode: 0o060660, links: 1, major: 254},
		"bin/sh":      {mode: 0o120777, links: 1, data: "/init"},
		"tmp":         {mode: 0o040777, links: 2},
	} {
		got := members[name]
		got.inode = 0
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	inodes := map[uint64]bool{}
	for _, m := range members {
		inodes[m.inode] = true
	}
	if len(inodes) != len(members) {
		t.Errorf("%d inode numbers for %d files: the kernel would link those that share one", len(inodes), len(members))
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	one, other := &initramfs.Archive{}, &initramfs.Archive{}
	fill(one)
	other.Dir("tmp", 0o777)
	other.File("init", 0o700, []byte("replaced below"))
	fill(other)
	if !bytes.Equal(write(t, one), write(t, other)) {
		t.Error("the same files added in another order gave other bytes")
	}
}

func TestBadNames(t *testing.T) {
	for _, name := range []string{"", ".", "/init", "../x", "a/../b", "a//b", "a/", "a\x00b"} {
		a := &initramfs.Archive{}
		a.File(name, 0o644, nil)
		if _, err := a.WriteTo(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("name %q: got %v, want an error that names it", name, err)
		}
	}
	a := &initramfs.Archive{}
	a.File("etc", 0o644, nil)
	a.File("etc/hosts", 0o644, nil)
	if _, err := a.WriteTo(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "expected etc to be a folder") {
		t.Errorf("a file below a file: got %v", err)
	}
}

// TestCpioAgrees lets another implementation read an archive.
func TestCpioAgrees(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the program cpio is not installed")
	}
	a := &initramfs.Archive{}
	fill(a)
	cmd := exec.Command(cpio, "-t", "--quiet")
	cmd.Stdin = bytes.NewReader(write(t, a))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(strings.Fields(string(out)), " "), "bin bin/sh dev dev/console dev/vda etc etc/hosts init tmp"; got != want {
		t.Errorf("cpio -t: got %s, want %s", got, want)
	}
}

func ExampleArchive() {
	a := &initramfs.Archive{}
	a.File("init", fs.FileMode(0o755), []byte("a static program"))
	a.CharDevice("dev/console", 0o600, 5, 1)
	var image bytes.Buffer
	n, err := a.WriteTo(&image)
	fmt.Println(n, err)
	// Output: 496 <nil>
}
