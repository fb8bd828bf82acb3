package agent_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"telltale.dev/agent"
	"telltale.dev/protocol/dbc"
)

// TestUnhealthy: an agent whose stages do not answer is not healthy, and says so in time.
func TestUnhealthy(t *testing.T) {
	a, err := agent.New(agent.Config{
		Data: t.TempDir(), Vehicle: "car", Device: "tcu", Plan: &dbc.Plan{}, Endpoints: []string{"mqtt://127.0.0.1:1"},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.Healthy(ctx); err == nil { // Run is not called: nobody answers
		t.Error("it is called healthy")
	}
	ran, stop := context.WithCancel(t.Context())
	stop()
	if err := a.Run(ran); err != nil { // closes the buffer
		t.Error(err)
	}
}
