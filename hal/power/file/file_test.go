package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/file"
	"telltale.dev/hal/power/powertest"
)

// write replaces the file as a careful script does, or in place as echo does.
func write(t *testing.T, path, text string, inPlace bool) {
	t.Helper()
	name := path
	if !inPlace {
		name += ".new"
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if !inPlace {
		if err := os.Rename(name, path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSupply(t *testing.T) {
	for name, inPlace := range map[string]bool{"renamed": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			powertest.Run(t, true, func(t *testing.T) (power.Supply, func(power.Ignition, time.Duration)) {
				path := filepath.Join(t.TempDir(), "ignition")
				write(t, path, "off\n", inPlace)
				return file.New(path), func(i power.Ignition, notice time.Duration) {
					text := i.String()
					if notice > 0 {
						text += " shutdown " + notice.String()
					}
					write(t, path, text+"\n", inPlace)
				}
			})
		})
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ignition")
	s := file.New(path)
	if _, err := s.Next(t.Context(), power.State{}); err == nil || err.Error() != "ignition: no such file or directory" {
		t.Errorf("missing: got %v", err)
	}
	for _, text := range []string{"", "maybe", "off shutdown", "off shutdown soon", "on off", "off shutdown -3s", strings.Repeat("on ", 80)} {
		write(t, path, text, true)
		if _, err := s.Next(t.Context(), power.State{}); err == nil || !strings.HasPrefix(err.Error(), "ignition: expected on or off") {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
	write(t, path, strings.Repeat("on ", 1000), true)
	if _, err := s.Next(t.Context(), power.State{}); err == nil || err.Error() != "ignition: expected at most 256 bytes" {
		t.Errorf("too long: got %v", err)
	}
	if _, err := file.New("/dev/zero").Next(t.Context(), power.State{}); err == nil || err.Error() != "zero: expected a regular file" {
		t.Errorf("device: got %v", err)
	}
	write(t, path, "on", true) // and it recovers
	if got, err := s.Next(t.Context(), power.State{}); err != nil || got.Ignition != power.On {
		t.Errorf("got %+v, %v", got, err)
	}
}
