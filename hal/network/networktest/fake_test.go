package networktest_test

import (
	"testing"

	"go.uber.org/goleak"

	"telltale.dev/hal/network"
	"telltale.dev/hal/network/networktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	networktest.Run(t, func(*testing.T) (network.Monitor, func(bool)) {
		f := &networktest.Fake{}
		return f, func(cellular bool) {
			if cellular {
				f.Set(network.State{Type: network.Cellular, Metered: true})
			} else {
				f.Set(network.State{})
			}
		}
	})
}
