package main

import (
	"fmt"

	"telltale.dev/protocol"
)

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run() error {
	fmt.Println(protocol.BuildVersion())
	return nil
}
