//go:build linux && virtualboard

package boot

import (
	"context"

	"telltale.dev/firmware-images/boot/virtual"
	"telltale.dev/firmware-images/vport"
)

func cable(ctx context.Context, say func(string, ...any), bus, port string) error {
	return virtual.Cable(ctx, say, bus, port)
}

func startTPM(port string) error { return vport.StartTPM(port) }
