package uboot

import (
	"fmt"
	"strings"

	"telltale.dev/hal/slots"
)

// Parse reads where the places are, as in state=FILE,a=FILE,b=FILE,booted=A. Without a word it looks for them on this machine (Find).
func Parse(text string) (Config, error) {
	if text == "" {
		return Find("/")
	}
	cfg := Config{Images: map[slots.Slot]string{}}
	seen := map[string]bool{}
	for _, pair := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if seen[key] {
			return Config{}, fmt.Errorf("expected %s= once", key)
		}
		seen[key] = true
		switch key {
		case "state":
			cfg.State = value
		case "a":
			cfg.Images[slots.A] = value
		case "b":
			cfg.Images[slots.B] = value
		case "booted":
			cfg.Booted = slots.Slot(value)
		default:
			return Config{}, fmt.Errorf("expected state=, a=, b= and booted=, found %q", pair)
		}
	}
	return cfg, nil
}
