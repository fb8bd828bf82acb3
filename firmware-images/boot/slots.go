//go:build linux

package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"telltale.dev/firmware-images/boot/partitions"
	"telltale.dev/firmware-images/settings"
	"telltale.dev/hal/durable"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

// confirmedNote is root's file on the data partition in which it stands which firmware was confirmed last.
const confirmedNote = partitions.DataMount + "/confirmed"

// maxKey bounds the file of a public key, in bytes.
const maxKey = 1 << 20

// serveSlots lets the agent's user ask for the firmware slots, by the keys, the board and the release of this image. It is called after the
// data partition was mounted.
func serveSlots(ctx context.Context, say func(string, ...any), of *settings.OfAgent, agent *settings.Agent) error {
	owned, err := partitions.Slots()
	if err != nil {
		return fmt.Errorf("firmware slots: %w", err)
	}
	keys, err := trusted(of.Keys)
	if err != nil {
		return fmt.Errorf("firmware slots: update keys: %w", err)
	}
	l, err := listen(settings.SlotsSocket, agent.User)
	if err != nil {
		return fmt.Errorf("firmware slots: %w", err)
	}
	o := &slots.Owner{
		Slots: owned, Note: confirmedNote, Say: say,
		Policy: firmware.Policy{Keys: keys, Board: of.Board, Release: of.Release, AllowDowngrade: agent.Downgrades},
	}
	go func() {
		if err := o.Serve(ctx, l); err != nil {
			say("%v", err)
		}
	}()
	return nil
}

// listen makes a socket that only a user can open.
func listen(path string, user int) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, user, user)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// trusted reads the public keys of a folder. One without any trusts nobody, so that no update is taken.
func trusted(dir string) (signed.Keys, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	var files [][]byte
	for _, name := range names {
		text, _, err := durable.ReadRegular(name, maxKey)
		if err != nil {
			return nil, err
		}
		files = append(files, text)
	}
	return signed.ParseKeys(files...)
}
