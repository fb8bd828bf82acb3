package signal_test

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"telltale.dev/protocol/signal"
)

// TestPhysicalRoundsTwice compares with the product and the sum as exact numbers, each rounded to a float64.
func TestPhysicalRoundsTwice(t *testing.T) {
	exact := func(v float64) *big.Float { return new(big.Float).SetPrec(2200).SetFloat64(v) }
	random := rand.New(rand.NewPCG(1, 2))
	differ := 0
	for i := range 100_000 {
		n := signal.Number{Factor: float64(1+random.IntN(2000)) / 1000, Shift: -float64(random.IntN(200_000)) / 1000}
		raw := int64(random.IntN(1 << 16))
		if i == 0 {
			n, raw = signal.Number{Factor: 0.244, Shift: -125}, 510
		}
		product, _ := new(big.Float).Mul(exact(float64(raw)), exact(n.Factor)).Float64()
		want, _ := new(big.Float).Add(exact(product), exact(n.Shift)).Float64()
		if got := n.Physical(raw); got != want {
			t.Fatalf("%d of %+v: got %v, want %v", raw, n, got, want)
		}
		if math.FMA(float64(raw), n.Factor, n.Shift) != want {
			differ++
		}
	}
	if got := (signal.Number{Factor: 0.244, Shift: -125}).Physical(510); got != -0.5600000000000023 {
		t.Errorf("got %v, want -0.5600000000000023", got)
	}
	if differ == 0 {
		t.Error("got no value for which it matters")
	}
}

// TestNotFused compiles the package for arm64, where Go fuses a product and a sum if it may.
func TestNotFused(t *testing.T) {
	build := exec.Command("go", "build", "-gcflags=-S", "-o", os.DevNull, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	listing, err := build.CombinedOutput()
	if err != nil {
		t.Skipf("the Go compiler is not there: %v", err)
	}
	seen := false
	for line := range bytes.Lines(listing) {
		if !bytes.Contains(line, []byte("number.go:")) {
			continue
		}
		seen = seen || bytes.Contains(line, []byte("FMULD"))
		if bytes.Contains(line, []byte("FMADD")) || bytes.Contains(line, []byte("FNMSUB")) || bytes.Contains(line, []byte("FMSUB")) {
			t.Errorf("got a fused operation: %s", line)
		}
	}
	if !seen {
		t.Error("got no multiplication in the listing")
	}
}
