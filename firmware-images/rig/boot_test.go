package rig_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/slots/uboot"
)

// TestReproducible builds the image twice and wants the same bytes.
func TestReproducible(t *testing.T) {
	b := newBench(t)
	t.Parallel()
	again := b.build(t, b.config(t.TempDir(), "1.0.0", baseRelease))
	for _, path := range []string{again.Disk, again.Slot, again.Update, again.UBoot, again.Control, again.SBOM} {
		first, second := digest(t, filepath.Join(b.image, filepath.Base(path))), digest(t, path)
		if first != second {
			t.Errorf("%s: got %x, want %x as the first time", filepath.Base(path), second, first)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-12s %10d bytes %x", filepath.Base(path), info.Size(), first[:8])
	}
}

func digest(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// TestMaterials wants the bill to name kernel, boot loader, agent and a Go module, with sums.
func TestMaterials(t *testing.T) {
	b := newBench(t)
	text, err := os.ReadFile(filepath.Join(b.image, "sbom.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		SPDXVersion string
		Packages    []struct {
			SPDXID, Name, VersionInfo string
			Checksums                 []struct{ ChecksumValue string }
		}
		Relationships []struct{ SPDXElementID, RelatedSPDXElement string }
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, name := range []string{"linux-image-", "u-boot-qemu", "e2fsprogs", "libc6", "telltale.dev", "std", "github.com/fxamacker/cbor/v2"} {
		found := false
		for _, p := range bill.Packages {
			known[p.SPDXID] = true
			if strings.HasPrefix(p.Name, name) && p.VersionInfo != "" {
				found = true
			}
		}
		if !found {
			t.Errorf("the bill of materials lacks %s", name)
		}
	}
	licences, err := os.ReadFile(filepath.Join(b.image, "THIRD-PARTY"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range bill.Packages {
		if p.Name == "u-boot-qemu" || p.Name == "telltale.dev" || p.Name == "std" || !strings.Contains(p.Name, "/") && !strings.HasPrefix(p.Name, "lib") {
			continue // not in the slot, ours, or looked for below
		}
		if !strings.Contains(string(licences), p.Name+" "+p.VersionInfo) {
			t.Errorf("THIRD-PARTY lacks %s %s", p.Name, p.VersionInfo)
		}
	}
	for _, text := range []string{"Debian linux-image-", "Debian e2fsprogs ", "The Go Authors"} {
		if !strings.Contains(string(licences), text) {
			t.Errorf("THIRD-PARTY lacks %s", text)
		}
	}
	for _, r := range bill.Relationships {
		if !known[r.SPDXElementID] {
			t.Errorf("relationship of %s, which is not in the bill", r.SPDXElementID)
		}
	}
}

// TestBoot starts a device five times, plays a recording on its bus and wants it in the cloud; the last start is the first
// one of an update. It prints the times. In each start the first frame comes soon, and the agent has no rights of root.
func TestBoot(t *testing.T) {
	b := newBoard(t, newBench(t))
	began := time.Now()
	ended := b.onWithFrames()
	at := func(what string, within time.Duration, text string) {
		b.says(within, text)
		t.Logf("%6.2f s  %s", time.Since(began).Seconds(), what)
	}
	at("the kernel starts", 30*time.Second, "Starting kernel")
	at("telltale-init runs", 60*time.Second, "1.0.0 started")
	at("the bus is listened to", 60*time.Second, "bus can0: listening")
	at("the agent is started", 60*time.Second, "agent started")
	at("a bus is attached", 60*time.Second, "bus attached")
	at("the cloud is connected", 60*time.Second, "msg=connected")
	b.eventually(60*time.Second, "telemetry is stored", func() error {
		var all []struct{ Signals int }
		if err := b.get("/v1/vehicles", &all); err != nil || len(all) != 1 || all[0].Signals == 0 {
			return fmt.Errorf("got %+v, %w", all, err)
		}
		return nil
	})
	t.Logf("%6.2f s  telemetry is stored in the cloud", time.Since(began).Seconds())
	b.runs(time.Minute, "1.0.0", "A")
	b.firstFrame(990)
	for range 3 {
		b.cutWithFrames(ended)
		ended = b.onWithFrames()
		b.firstFrame(990)
	}
	b.online(time.Minute)
	if err := b.start(must(goodUpdate())(t)); err != nil {
		t.Fatal(err)
	}
	b.says(2*time.Minute, "restarting: the agent asks for it", "1.1.0 started")
	b.firstFrame(991)
	if u := b.ends(2 * time.Minute); u.State != "CONFIRMED" {
		t.Errorf("ended %s %s (%s), want CONFIRMED", u.State, u.Reason, u.Detail)
	}
	b.cutWithFrames(ended)
}

// onWithFrames starts the board with a recording on its bus. What ends the recording comes on the channel.
func (b *board) onWithFrames() <-chan error {
	b.t.Helper()
	b.on()
	ended, ctx := make(chan error, 1), b.t.Context()
	go func() {
		_, err := b.Play(ctx, filepath.Join(root, "simulator", "recordings", "rav4.log.zst"))
		ended <- err
	}()
	return ended
}

// cutWithFrames cuts the power, which is what ends the recording.
func (b *board) cutWithFrames(ended <-chan error) {
	b.t.Helper()
	machine := b.Machine()
	b.PowerCut()
	<-machine.Done()
	if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "play: ") {
		b.t.Errorf("play: got %v, want the end of the other side", err)
	}
}

// Words of the console: when the agent was ready, in seconds since the kernel started, when the first frame came, and
// what the kernel says of the agent's process.
var (
	startedLine = regexp.MustCompile(`telltale-init: ([0-9.]+) [^ ]+ started`)
	readyLine   = regexp.MustCompile(`telltale-init: ([0-9.]+) agent ready`)
	firstLine   = regexp.MustCompile(`msg="first frame" bus=can0 after_kernel_start=([0-9a-z.]+)`)
	rightsLine  = regexp.MustCompile(`agent started; ([^\r\n]*)`)
)

const (
	// kernelWithin bounds the time until the kernel's first process runs. It takes 1.2 s to 1.9 s on a quick and idle host.
	kernelWithin = 4 * time.Second
	// oursOfKernel bounds what is ours, from the kernel's first process to the first frame, in parts of what the kernel
	// took: the kernel of the same start is the measure of how quick the host is. It is 0.15 to 0.3 on an idle host.
	oursOfKernel = 0.75
)

// firstFrame wants, in the newest start, frames that came while the agent was still starting and soon after the kernel's
// first process ran, by the guest's clock, and an agent that is the user alone and can never be more. The guest's clock does not
// stop while other programs have the host's cores, so the time is judged by what the kernel took in the same start.
func (b *board) firstFrame(user int) {
	b.t.Helper()
	var started, ready, first, rights []string
	b.eventually(time.Minute, "the agent is ready and has a frame", func() error {
		text := b.Machine().Output()
		text = text[max(0, strings.LastIndex(text, "Starting kernel")):]
		started = startedLine.FindStringSubmatch(text)
		ready, first, rights = readyLine.FindStringSubmatch(text), firstLine.FindStringSubmatch(text), rightsLine.FindStringSubmatch(text)
		if started == nil || ready == nil || first == nil || rights == nil {
			return fmt.Errorf("the console lacks %v, %v, %v or %v", startedLine, readyLine, firstLine, rightsLine)
		}
		return nil
	})
	kernel, agent := must(time.ParseDuration(started[1]+"s"))(b.t), must(time.ParseDuration(ready[1]+"s"))(b.t)
	frame, slowdown := must(time.ParseDuration(first[1]))(b.t), must(b.Machine().Slowdown())(b.t)
	b.t.Logf("%6.2f s after the kernel started the first frame came; its first process ran at %.2f s; the agent was ready at %.2f s; the host made the machine %.1f times slower",
		frame.Seconds(), kernel.Seconds(), agent.Seconds(), slowdown)
	if frame >= agent {
		b.t.Error("what came before the agent was ready is lost")
	}
	if longest := time.Duration(float64(kernelWithin) * max(1, slowdown)); kernel > longest {
		b.t.Errorf("the kernel's first process ran %v after the kernel started, want %v at most", kernel, longest)
	}
	if ours, longest := frame-kernel, time.Duration(float64(kernel)*oursOfKernel); ours > longest {
		b.t.Errorf("the first frame came %v after the kernel's first process, want %v at most: the kernel took %v", ours, longest, kernel)
	}
	none := "0000000000000000"
	want := fmt.Sprintf("Uid %[1]d %[1]d %[1]d %[1]d, Gid %[1]d %[1]d %[1]d %[1]d, CapPrm %[2]s, CapEff %[2]s, CapBnd %[2]s, CapAmb %[2]s, NoNewPrivs 1", user, none)
	if rights[1] != want {
		b.t.Errorf("the agent: got  %s\nwant %s", rights[1], want)
	}
}

// TestBootState damages the boot state, or what it points to, and looks what is started.
func TestBootState(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	b := newBoard(t, shared)
	slot, err := os.ReadFile(filepath.Join(shared.image, "slot.itb"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(must(stranger())(t).Slot)
	if err != nil {
		t.Fatal(err)
	}
	corrupt := bytes.Clone(slot)
	corrupt[len(corrupt)/2] ^= 1
	legacy := legacyImage(t)
	write := func(slotA, slotB []byte, state func([]byte)) {
		t.Helper()
		sector := uboot.EncodeState("A", "B")
		state(sector)
		for part, data := range map[string][]byte{"slot-a": slotA, "slot-b": slotB, "boot-state": sector} {
			if err := b.Overwrite(part, 0, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := func([]byte) {}
	passedOver := []string{"slot A", "slot A holds nothing that may be started", "slot B", "Starting kernel"}
	for _, c := range []struct {
		name         string
		slotA, slotB []byte
		state        func([]byte)
		starts       [][]string // what each start says; the power is cut after it
	}{
		{"both good", slot, slot, good, [][]string{{"slot A", "Starting kernel"}}},
		{"a bad checksum", slot, slot, func(s []byte) { s[30] ^= 1 }, [][]string{{"boot state cannot be read: A, then B", "slot A", "Starting kernel"}}},
		{"no boot state at all", slot, slot, func(s []byte) { clear(s) }, [][]string{{"boot state cannot be read", "slot A", "Starting kernel"}}},
		{"a variable missing", slot, slot, stored("BOOT_A_LEFT=3", "BOOT_B_LEFT=3"), [][]string{{"boot state cannot be read", "slot A", "Starting kernel"}}},
		{"a corrupt slot", corrupt, slot, good, [][]string{passedOver, passedOver}},
		{"a slot of another key", foreign, slot, good, [][]string{passedOver}},
		{"an unsigned old form", legacy, slot, good, [][]string{passedOver}},
		{"an empty slot", make([]byte, 4096), slot, good, [][]string{passedOver}},
		{"starts of a confirmed slot are not counted", slot, slot, stored("BOOT_A_LEFT=3", "BOOT_B_LEFT=1", "BOOT_ORDER=B A"),
			[][]string{{"slot B", "Starting kernel"}, {"slot B", "Starting kernel"}}},
		{"nor were they rightly before", slot, slot, stored("BOOT_A_LEFT=2", "BOOT_B_LEFT=0", "BOOT_ORDER=B A"), [][]string{{"slot B", "Starting kernel"}}},
		{"starts on trial are counted", slot, slot, stored("BOOT_A_LEFT=3", "BOOT_B_LEFT=2", "BOOT_ORDER=B A", "TELLTALE_TRIAL=B"), [][]string{
			{"slot B on trial, 1 tries left", "Starting kernel"}, {"slot B on trial, 0 tries left", "Starting kernel"},
			{"slot A", "Starting kernel"}, {"slot A", "Starting kernel"},
		}},
		{"both slots bad", corrupt, foreign, good, [][]string{{"slot A holds nothing", "slot B holds nothing", "BOTH SLOTS ARE BAD"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			write(c.slotA, c.slotB, c.state)
			for _, says := range c.starts {
				began := time.Now()
				b.on()
				b.says(60*time.Second, says...)
				t.Logf("%.1f s: %s", time.Since(began).Seconds(), strings.Join(says, "; "))
				b.PowerCut()
			}
		})
	}
}

// stored makes a boot state of these variables.
func stored(variables ...string) func(sector []byte) {
	return func(sector []byte) {
		clear(sector)
		copy(sector[4:], strings.Join(variables, "\x00"))
		binary.LittleEndian.PutUint32(sector, crc32.ChecksumIEEE(sector[4:]))
	}
}

// legacyImage is an unsigned image in the form that U-Boot had before FIT: this
// U-Boot can start it, and must not.
func legacyImage(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	content, out := filepath.Join(dir, "content"), filepath.Join(dir, "image")
	if err := os.WriteFile(content, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mkimage", "-A", "arm64", "-O", "linux", "-T", "kernel", "-C", "none", "-a", "0x40400000", "-e", "0x40400000", "-d", content, out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mkimage: %v: %s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNoPrompt types at a boot loader that has nothing to start: it must not give anybody its command line.
func TestNoPrompt(t *testing.T) {
	shared := newBench(t)
	t.Parallel()
	b := newBoard(t, shared)
	if err := b.Overwrite("slot-a", 0, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	b.on()
	b.says(time.Minute, "BOTH SLOTS ARE BAD")
	for range 5 {
		if err := b.Machine().Type("\x03"); err != nil {
			t.Fatal(err)
		}
		b.says(time.Minute, "resetting", "BOTH SLOTS ARE BAD")
	}
	if err := b.Machine().Type("\r\nversion\r\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if text := b.Machine().Output(); strings.Contains(text, "=> ") {
		t.Errorf("got a prompt: %s", text)
	}
}
