package protocol

import "runtime/debug"

// stamped is set by the linker in packages that are given to others:
// -ldflags "-X telltale.dev/protocol.stamped=1.2.3".
var stamped string

// BuildVersion is the version of the running program as far as the build knows it:
// the one it was stamped with, the module's version, or "dev".
func BuildVersion() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
