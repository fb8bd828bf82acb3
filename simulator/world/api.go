package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// askWait bounds one question to the cloud's API.
const askWait = 5 * time.Second

// Ask gets a route of the cloud's API, such as "/v1/vehicles".
func (w *World) Ask(ctx context.Context, route string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.Ports().HTTP+route, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the cloud answered %s", route, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Presence asks what the cloud says of a vehicle's device.
func (w *World) Presence(ctx context.Context, v *Vehicle) (string, error) {
	var devices []struct{ Did, Presence string }
	if err := w.Ask(ctx, "/v1/vehicles/"+v.cfg.Vehicle+"/presence", &devices); err != nil {
		return "", err
	}
	for _, d := range devices {
		if d.Did == v.cfg.Device {
			return d.Presence, nil
		}
	}
	return "unknown", nil
}

// KnownSignal says whether the cloud has a last known value of a signal.
func (w *World) KnownSignal(ctx context.Context, v *Vehicle, signal string) (bool, error) {
	var list []struct{ Signal string }
	if err := w.Ask(ctx, "/v1/vehicles/"+v.cfg.Vehicle+"/state", &list); err != nil {
		return false, err
	}
	for _, s := range list {
		if s.Signal == signal {
			return true, nil
		}
	}
	return false, nil
}

// Delivery is what the cloud knows of one start of a vehicle's agent. Ranges have both ends included.
type Delivery struct {
	Boot    string
	Last    uint64      // the highest sequence that it heard of
	Gaps    [][2]uint64 // below it, of which it heard nothing
	Evicted [][2]uint64 // declared by the vehicle, and not stored
	Stayed  [][2]uint64 `json:"evicted_stored"` // declared, and stored nevertheless
}

// Deliveries asks for what the cloud knows of a vehicle's messages.
func (w *World) Deliveries(ctx context.Context, v *Vehicle) (list []Delivery, err error) {
	err = w.Ask(ctx, "/v1/vehicles/"+v.cfg.Vehicle+"/ledger", &list)
	return list, err
}
