package runner

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telltale.dev/firmware-images/guest"
)

// outputFlags are flags of the testing package that name a file to write.
var outputFlags = map[string]bool{"test.coverprofile": true, "test.cpuprofile": true, "test.memprofile": true,
	"test.blockprofile": true, "test.mutexprofile": true, "test.trace": true}

// droppedFlags name files or folders of the host that a guest has no use for:
// what a test opened, for Go's cache of results.
var droppedFlags = map[string]bool{"test.testlogfile": true, "test.outputdir": true, "test.gocoverdir": true}

// TestArguments gives a test binary's arguments for the guest, and the host's paths
// of the files that it writes, by number. Relative ones lie in -test.outputdir, or in dir.
func TestArguments(args []string, dir string) (forGuest, outputs []string) {
	outputDir := dir
	for _, a := range args {
		if name, value, _ := cutFlag(a); name == "test.outputdir" && value != "" {
			outputDir = value
		}
	}
	for i := 0; i < len(args); i++ {
		name, value, inline := cutFlag(args[i])
		if args[i] == "--" {
			return append(forGuest, args[i:]...), outputs
		}
		if !outputFlags[name] && !droppedFlags[name] {
			forGuest = append(forGuest, args[i])
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		if outputFlags[name] {
			if !filepath.IsAbs(value) {
				value = filepath.Join(outputDir, value)
			}
			forGuest = append(forGuest, "-"+name+"=/"+guest.OutputDir+"/"+strconv.Itoa(len(outputs)))
			outputs = append(outputs, value)
		}
	}
	return forGuest, outputs
}

// cutFlag takes "-name=value" apart. The name is empty for what is no flag.
func cutFlag(arg string) (name, value string, inline bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
}

// TestTimeout is what -test.timeout of a test binary's arguments says; 0: none.
func TestTimeout(args []string) time.Duration {
	for i, a := range args {
		name, value, inline := cutFlag(a)
		if a == "--" {
			break
		}
		if name != "test.timeout" {
			continue
		}
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		if d, err := time.ParseDuration(value); err == nil {
			return d
		}
	}
	return 0
}
