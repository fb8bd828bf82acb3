package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"telltale.dev/hal/canbus/virtual"
)

// busFolder is where in the data folder the sockets of the virtual buses are. Only its owner
// may enter it: whoever reaches a hub reads its buses and sends on them, and a TCP port is
// reached by every user of the machine.
const busFolder = "bus"

// openHub listens where cfg.Hub says, or on a unix socket in busFolder. Where the path would be
// too long for a socket, or the file system has none, it is in a new folder for temporary
// files, with the same rights; forget removes that.
func (w *World) openHub(cfg VehicleConfig, hub virtual.Config) (h *virtual.Hub, forget func() error, err error) {
	forget = func() error { return nil }
	if cfg.Hub != "" {
		h, err = virtual.Listen(cfg.Hub, hub)
		return h, forget, err
	}
	folder := filepath.Join(w.cfg.Dir, busFolder)
	err = os.Mkdir(folder, 0o700)
	if errors.Is(err, os.ErrExist) {
		err = os.Chmod(folder, 0o700)
	}
	if err == nil {
		if h, err = virtual.Listen(filepath.Join(folder, cfg.Name+".sock"), hub); err == nil {
			return h, forget, nil
		}
	}
	elsewhere, tempErr := os.MkdirTemp("", "telltale-bus-") // with the rights 0700
	if tempErr != nil {
		return nil, nil, errors.Join(err, fmt.Errorf("folder for the socket of a virtual bus: %w", tempErr))
	}
	forget = func() error { return os.RemoveAll(elsewhere) }
	if h, tempErr = virtual.Listen(filepath.Join(elsewhere, "hub.sock"), hub); tempErr != nil {
		return nil, nil, errors.Join(err, tempErr, forget())
	}
	return h, forget, nil
}
