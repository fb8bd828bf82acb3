package main

import (
	"context"
	"encoding/json"
	"os"

	"telltale.dev/agent"
	"telltale.dev/agent/local"
	"telltale.dev/agent/settings"
)

type statusCommand struct {
	settings.FromFile `embed:""`
	Data              string `required:"" type:"path" placeholder:"DIR" help:"Data folder of the agent that runs."`
	JSON              bool   `name:"json" nofile:"" help:"As JSON."`
}

// Run asks the agent and prints what it answers.
func (c *statusCommand) Run(ctx context.Context) error {
	var status agent.Status
	if err := local.Status(ctx, c.Data, &status); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(status)
	}
	return status.Print(os.Stdout)
}
