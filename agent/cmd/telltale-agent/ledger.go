package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"telltale.dev/agent/buffer"
)

type ledgerCommand struct {
	Data string `required:"" type:"path" placeholder:"DIR" help:"Data folder of a stopped agent."`
}

// Run prints the report as one JSON object.
func (c *ledgerCommand) Run() error {
	report, err := buffer.Inspect(filepath.Join(c.Data, "buffer"))
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
