// Package recordings carries one real drive inside the program, so that
// telltale up needs no other file. Where it comes from is in README.md beside it.
package recordings

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed rav4.log.zst toyota_new_mc_pt.dbc toyota_adas.dbc
var files embed.FS

// Drive is a log with the DBC file of each bus.
type Drive struct {
	Log string
	DBC map[string]string // bus → file
}

// RAV4 writes the carried drive, a minute on a highway, into dir and says where.
func RAV4(dir string) (Drive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Drive{}, fmt.Errorf("recording: %w", err)
	}
	put := func(name string) (string, error) {
		data, err := files.ReadFile(name)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, data, 0o600)
	}
	log, err := put("rav4.log.zst")
	can0, err0 := put("toyota_new_mc_pt.dbc")
	can1, err1 := put("toyota_adas.dbc")
	if err := errors.Join(err, err0, err1); err != nil {
		return Drive{}, fmt.Errorf("recording: %w", err)
	}
	return Drive{Log: log, DBC: map[string]string{"can0": can0, "can1": can1}}, nil
}
