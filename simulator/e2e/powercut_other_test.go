//go:build !linux

package e2e_test

import (
	"testing"

	"telltale.dev/simulator/world"
)

// disks cannot be made here.
type disks struct{ agent, cloud disk }

type disk struct{}

func newDisks(t *testing.T, _ string) *disks {
	t.Helper()
	t.Skip("cutting power below the page cache needs Linux")
	return nil
}

func (disk) sync() error { return nil }

// Cut implements power.
func (*disks) Cut(*world.World, *world.Device, bool, bool) error { return nil }
