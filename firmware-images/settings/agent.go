package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Places in the image and on the machine that telltale-init and the agent both know.
const (
	// AgentFile has the agent's own settings.
	AgentFile = "/etc/telltale/agent.yaml"
	// SlotsSocket is where telltale-init answers the agent about the firmware slots: "slots: owner:…" in AgentFile.
	SlotsSocket = "/run/telltale/slots"
)

// OfAgent is what telltale-init must know of the agent's settings: which updates are trusted, and which devices it uses.
type OfAgent struct {
	Keys    string // folder of the public keys (*.pem) whose updates are trusted
	Board   string // for which they must be
	Release uint64 // of the firmware that runs; 0: unknown
	// Ignition is where the ignition is read; "": nowhere. After is what follows when it is off.
	Ignition, After string
}

// ParseAgent reads the text of AgentFile, and the agent's command line, which wins. It checks nothing that it does not need: the agent does.
func ParseAgent(text []byte, command []string) (a OfAgent, err error) {
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		return a, fmt.Errorf("agent.yaml: %w", err)
	}
	values := map[string]string{}
	flatten(values, "", file)
	for i, word := range command {
		name, value, whole := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if !whole && i+1 < len(command) {
			value = command[i+1]
		}
		if strings.HasPrefix(word, "--") {
			values[name] = value
		}
	}
	a = OfAgent{Keys: values["update-keys"], Board: values["update-board"], Ignition: values["power-ignition"], After: values["power-after"]}
	if text := values["update-release"]; text != "" {
		if a.Release, err = strconv.ParseUint(text, 10, 64); err != nil {
			return a, fmt.Errorf("agent.yaml: update: release: expected a number, found %.32q", text)
		}
	}
	if a.Ignition == "none" {
		a.Ignition = ""
	}
	return a, nil
}

// flatten gives the values of nested keys by the agent's names of them: {power: {after: stop}} is power-after.
func flatten(values map[string]string, before string, of map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(of)) {
		switch v := of[key].(type) {
		case map[string]any:
			flatten(values, before+key+"-", v)
		case nil, []any:
		default:
			values[before+key] = fmt.Sprint(v)
		}
	}
}

// Devices are the devices that the agent uses by its settings, as patterns of their paths: the TPM, a GPIO chip that tells of the ignition,
// the alarm that wakes the machine, and the file that puts it to sleep.
func (a *OfAgent) Devices() []string {
	all := []string{"/dev/tpmrm*"}
	if line, ok := strings.CutPrefix(a.Ignition, "gpio:"); ok {
		if chip, _, _ := strings.Cut(line, "?"); strings.HasPrefix(chip, "/dev/gpiochip") && !strings.ContainsAny(chip[len("/dev/"):], `/*?[\`) {
			all = append(all, chip)
		}
	}
	if a.Ignition != "" && (a.After == "suspend" || a.After == "stop") {
		all = append(all, "/sys/class/rtc/rtc0/wakealarm")
	}
	if a.Ignition != "" && a.After == "suspend" {
		all = append(all, "/sys/power/state")
	}
	return all
}
