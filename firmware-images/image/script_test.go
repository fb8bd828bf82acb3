package image_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/firmware-images/image"
	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
)

// stage stands in for U-Boot in bash, as far as boot.cmd uses it: the boot state is variables of
// its own, and a slot is startable or not. It ends at the first bootm that succeeds, or at the second reset.
const stage = `
set -f
setenv() { local name=$1; shift; eval "$name=\"\$*\""; }
part() { if [ "$1" = start ] || [ "$1" = size ]; then eval "$5=\"$1 $4\""; at=$4; fi; }
mw.l() { :; }
setexpr() { if [ "$3" = - ]; then eval "$1=$(($2 - $4))"; else eval "$1=1"; fi; }
itest() { :; }
itest.l() { :; }
fdt() { :; }
sleep() { :; }
echo() { :; }
board() { # board read ADDRESS START COUNT, board write ...
  if [ "$1" = write ]; then O=$BO; A=$BA; B=$BB; T=$BT; fi
}
env() {
  if [ "$1" = export ]; then BO=$BOOT_ORDER; BA=$BOOT_A_LEFT; BB=$BOOT_B_LEFT; BT=$TELLTALE_TRIAL; return 0; fi
  BOOT_ORDER=$O; BOOT_A_LEFT=$A; BOOT_B_LEFT=$B; TELLTALE_TRIAL=$T
}
runs() { printf '%s|%s|%s|%s|%s\n' "$1" "$O" "$A" "$B" "$T"; exit; }
bootm() { case $bad in *"$at"*) return 1;; esac; runs "${bootargs##*slot=}"; }
reset() { round=$((round + 1)); [ $round = 1 ] || runs ""; start; }
start() {
`

// bootCase is a boot state and what can be verified.
type bootCase struct {
	order, left, trial string // left: of A and B
	bad                []slots.Slot
}

// sector is the boot state as it is stored. A state that does not parse is stored all the same.
func (c bootCase) sector() []byte {
	text := fmt.Sprintf("BOOT_A_LEFT=%c\x00BOOT_B_LEFT=%c\x00BOOT_ORDER=%s\x00TELLTALE_TRIAL=%s\x00\x00", c.left[0], c.left[1], c.order, c.trial)
	return checksummed([]byte(text))
}

// bootCases are all states that can be stored, and some that cannot.
func bootCases() (all []bootCase) {
	for _, order := range []string{"A", "B", "A B", "B A", "", "A  B", "B A A", "C"} {
		for _, left := range []string{"33", "32", "23", "13", "31", "03", "30", "00", "11", "34", "43"} {
			for _, trial := range []string{"", "A", "B", "C"} {
				for _, bad := range [][]slots.Slot{nil, {"A"}, {"B"}, {"A", "B"}} {
					all = append(all, bootCase{order, left, trial, bad})
				}
			}
		}
	}
	return all
}

// TestBootScript runs boot.cmd in bash, with stand-ins for U-Boot's commands, on every boot state and
// with every set of damaged slots, and wants what the boot loader of the simulated boards does: the same slot and
// the same state afterwards.
func TestBootScript(t *testing.T) {
	script, err := image.BootScript(filepath.Join("..", "qemu-arm64"))
	if err != nil {
		t.Fatal(err)
	}
	script = strings.NewReplacer("virtio read", "board read", "virtio write", "board write", "virtio scan", ":", " <= ", " -le ").Replace(script)
	cases := bootCases()
	text := stage + script + "}\n"
	for _, c := range cases {
		var bad string
		for _, slot := range c.bad {
			bad += " slot-" + strings.ToLower(string(slot))
		}
		text += fmt.Sprintf("(round=0; O='%s'; A=%c; B=%c; T=%s; bad='%s'; start)\n", c.order, c.left[0], c.left[1], c.trial, bad)
	}
	bash, err := exec.LookPath("bash")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("bash is missing; it plays U-Boot's shell here")
	}
	cmd := exec.Command(bash)
	cmd.Stdin = strings.NewReader(text)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil || problems.Len() > 0 {
		t.Fatalf("%v: %.2000s", err, problems.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("got %d lines, want %d", len(lines), len(cases))
	}
	file := filepath.Join(t.TempDir(), "state")
	for i, c := range cases {
		if want := c.played(t, file); lines[i] != want {
			t.Errorf("%+v: boot.cmd: %s; the simulated board: %s", c, lines[i], want)
		}
	}
}

// played is what the simulated boards' boot loader makes of it, in the words of the stage.
func (c bootCase) played(t *testing.T, file string) string {
	t.Helper()
	if err := os.WriteFile(file, c.sector(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := uboot.Config{State: file, Images: map[slots.Slot]string{slots.A: "a", slots.B: "b"}}
	slot, err := uboot.Boot(cfg, func(slot slots.Slot) bool { return !slices.Contains(c.bad, slot) })
	if err != nil {
		t.Fatal(err)
	}
	s, err := uboot.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Status()
	if err != nil {
		t.Fatal(err)
	}
	if st.Problem != "" { // still what was there
		return fmt.Sprintf("%s|%s|%c|%c|%s", slot, c.order, c.left[0], c.left[1], c.trial)
	}
	var order []string
	for _, s := range st.Order {
		order = append(order, string(s))
	}
	return fmt.Sprintf("%s|%s|%d|%d|%s", slot, strings.Join(order, " "), st.Left[slots.A], st.Left[slots.B], st.OnTrial)
}

// checksummed makes a boot state of variables.
func checksummed(text []byte) []byte {
	sector := make([]byte, uboot.SectorSize)
	copy(sector[4:], text)
	binary.LittleEndian.PutUint32(sector, crc32.ChecksumIEEE(sector[4:]))
	return sector
}
