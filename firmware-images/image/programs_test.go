package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/firmware-images/image"
)

// TestStamped: a program in an image knows the firmware's version, and has a virtual board's parts only on one.
func TestStamped(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	const version, cable = "9.8.7~stamped.here", "firmware-images/boot/virtual.Cable"
	program, err := image.Compile(t.Context(), root, t.TempDir(), version, "telltale-init", false)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(version)) {
		t.Errorf("the program lacks its version %s", version)
	}
	if bytes.Contains(data, []byte(cable)) {
		t.Errorf("a board's program has %s", cable)
	}
}
