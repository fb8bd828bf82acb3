package buffer_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/ext4.h): the file
// system stops at once; neither dirty pages nor its log are written any more.
const (
	ext4Shutdown   = 0x8004587d
	goingNoLogSync = 2
)

// device is a small file system on a loop device that can lose its power.
type device struct{ image, dir string }

// newDevice needs root and mkfs.ext4.
func newDevice(t *testing.T) device {
	t.Helper()
	work := t.TempDir()
	d := device{image: filepath.Join(work, "image"), dir: filepath.Join(work, "mnt")}
	must(t, os.Mkdir(d.dir, 0o700))
	must(t, os.WriteFile(d.image, nil, 0o600))
	must(t, os.Truncate(d.image, 48<<20))
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		lacking(t, "mkfs.ext4: %v %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		lacking(t, "mount: %v %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(d.dir, syscall.MNT_DETACH) })
	return d
}

// cut stops the file system.
func (d device) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	must(t, err)
	defer f.Close() //nolint:errcheck // a directory
	flags := uint32(goingNoLogSync)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shutdown: %v", errno)
	}
}

// restore mounts again what is on the device.
func (d device) restore(t *testing.T) {
	t.Helper()
	must(t, exec.CommandContext(t.Context(), "umount", d.dir).Run())
	must(t, exec.CommandContext(t.Context(), "mount", "-o", "loop", d.image, d.dir).Run())
}

// TestPowerCutAfterAppend cuts the power right after each of the first few
// appends, which make files: their names must be on the device too.
func TestPowerCutAfterAppend(t *testing.T) {
	d := newDevice(t)
	c := buffer.Config{Dir: filepath.Join(d.dir, "agent"), MaxBytes: 4 << 20, SegmentBytes: 64 << 10}
	for seq := uint64(1); seq <= 4; seq++ {
		b := open(t, c)
		must(t, b.Append([]buffer.Record{record(protocol.CS1, 2*seq-1, 3000), record(protocol.CS4, 2*seq, 100)}, progress(2*seq)))
		d.cut(t)
		_ = b.Close()
		d.restore(t)
		b = open(t, c)
		if got := len(seqs(t, b, protocol.CS1)) + len(seqs(t, b, protocol.CS4)); got != int(2*seq) || b.Boots()[0].NextSeq != 2*seq+1 {
			t.Fatalf("got %d records and account %v, want %d", got, b.Boots(), 2*seq)
		}
		must(t, b.Close())
	}
}

// TestPowerCutBelowPageCache stops the file system under a process that
// appends, so that only what was synced is left: files, names and all.
func TestPowerCutBelowPageCache(t *testing.T) {
	d := newDevice(t)
	total, acked := map[protocol.BootID]uint64{}, map[protocol.MessageID]bool{}
	for n := range 4 {
		returned := cutPower(t, d, n)
		d.restore(t)
		b := open(t, buffer.Config{Dir: filepath.Join(d.dir, "agent"), MaxBytes: 64 << 20, SegmentBytes: 64 << 10})
		boots := b.Boots()
		if len(boots) == 0 || boots[len(boots)-1].Boot != bootNumber(n) {
			t.Fatalf("round %d: no account of the boot, %d returned", n, returned)
		}
		last := boots[len(boots)-1].NextSeq - 1
		if last < returned || last > returned+8 {
			t.Fatalf("round %d: the account says %d, %d returned", n, last, returned)
		}
		total[bootNumber(n)] = last
		checkComplete(t, b, total, acked)
		if st := b.Stats(); st.SetAside > 0 || st.LostRecords > 0 || st.Damaged > 0 {
			t.Errorf("round %d: %d set aside, %d lost, %d damaged; want none", n, st.SetAside, st.LostRecords, st.Damaged)
		}
		ackSome(t, b, acked)
		must(t, b.Close())
	}
}

// cutPower runs a child on the device, cuts its power, and gives the last sequence that was reported before.
func cutPower(t *testing.T, d device, n int) (returned uint64) {
	t.Helper()
	cmd := childCommand(t, "append", filepath.Join(d.dir, "agent"), n)
	cmd.Stderr = nil
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	deadline := time.Now().Add(time.Duration(50+rand.IntN(300)) * time.Millisecond)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "seq %d", &returned); err != nil && !strings.HasPrefix(lines.Text(), "error") {
			t.Fatalf("child says %q", lines.Text())
		}
		if time.Now().After(deadline) {
			d.cut(t)
			deadline = deadline.Add(time.Hour)
		}
	}
	_ = cmd.Wait()
	return returned
}
