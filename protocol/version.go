package protocol

import "runtime/debug"

// BuildVersion is the version of the running program as far as the build knows it: the module's version, or "dev".
func BuildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
