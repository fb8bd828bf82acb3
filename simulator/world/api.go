package world

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// askWait bounds one question to the cloud's API.
const askWait = 5 * time.Second

// Ask gets a route of the cloud's API, such as "/v1/vehicles".
func (w *World) Ask(ctx context.Context, route string, answer any) error {
	return w.get(ctx, route, func(body io.Reader) error { return json.NewDecoder(body).Decode(answer) })
}

// Metrics reads the cloud's figures that have no labels, by name, such as "telltale_broker_connections".
func (w *World) Metrics(ctx context.Context) (figures map[string]float64, err error) {
	figures = map[string]float64{}
	return figures, w.get(ctx, "/metrics", func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() { // NAME VALUE, NAME{LABELS} VALUE or a comment: the text form of Prometheus
			name, value, _ := strings.Cut(lines.Text(), " ")
			if n, err := strconv.ParseFloat(value, 64); err == nil && !strings.Contains(name, "{") {
				figures[name] = n
			}
		}
		return lines.Err()
	})
}

// get has the body of an answer read.
func (w *World) get(ctx context.Context, route string, read func(io.Reader) error) error {
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
	return read(resp.Body)
}

// Presences asks what the cloud says of each device of a vehicle that it knows, by the device's identifier.
func (w *World) Presences(ctx context.Context, v *Vehicle) (map[string]string, error) {
	var devices []struct{ Did, Presence string }
	if err := w.Ask(ctx, "/v1/vehicles/"+v.Name+"/presence", &devices); err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, d := range devices {
		known[d.Did] = d.Presence
	}
	return known, nil
}

// KnownSignal says whether the cloud has a last known value of a vehicle's signal, from whichever device.
func (w *World) KnownSignal(ctx context.Context, v *Vehicle, signal string) (bool, error) {
	var list []struct{ Signal string }
	if err := w.Ask(ctx, "/v1/vehicles/"+v.Name+"/state", &list); err != nil {
		return false, err
	}
	for _, s := range list {
		if s.Signal == signal {
			return true, nil
		}
	}
	return false, nil
}

// Delivery is what the cloud knows of one start of an agent. Ranges have both ends included.
type Delivery struct {
	Boot    string
	Last    uint64      // the highest sequence that it heard of
	Gaps    [][2]uint64 // below it, of which it heard nothing
	Evicted [][2]uint64 // declared by the vehicle, and not stored
	Stayed  [][2]uint64 `json:"evicted_stored"` // declared, and stored nevertheless
}

// Deliveries asks for what the cloud knows of the messages of a vehicle's devices.
func (w *World) Deliveries(ctx context.Context, v *Vehicle) (list []Delivery, err error) {
	err = w.Ask(ctx, "/v1/vehicles/"+v.Name+"/ledger", &list)
	return list, err
}
