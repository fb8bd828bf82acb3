//go:build linux

package virtual

import (
	"encoding/hex"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
)

// TestEncode wants the kernel's struct can_frame and canfd_frame.
func TestEncode(t *testing.T) {
	for line, want := range map[string]string{
		"(0.0) can0 123#AABB":          "23010000" + "02000000" + "aabb000000000000",
		"(0.0) can0 12345678#01":       "78563492" + "01000000" + "0100000000000000",
		"(0.0) can0 123#R4":            "23010040" + "04000000" + "0000000000000000",
		"(0.0) can0 123##1AA":          "23010000" + "01010000" + "aa" + strings.Repeat("00", 63),
		"(0.0) can0 20000080#00000001": "80000020" + "04000000" + "0000000100000000",
	} {
		var f can.Frame
		if _, err := can.ParseCandump(line, &f); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(encode(&f)); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}
