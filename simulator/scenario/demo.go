package scenario

import (
	"slices"
	"time"
)

// DemoConfig says what a demonstration with the user's own log is made of.
type DemoConfig struct {
	Log    string
	Buses  map[string]Bus
	Speed  float64 // 0: the log in 60 s
	Faults string  // none, tunnel, power, cloud or all
}

// BusNames gives the names of buses in order.
func BusNames(buses map[string]Bus) []string {
	names := make([]string, 0, len(buses))
	for name := range buses {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Demo makes the scenario of a demonstration: one vehicle, one drive, and the chosen faults at shares of the drive.
func Demo(cfg DemoConfig) *Scenario {
	const name = "demo"
	within := func(d time.Duration) Duration { return Duration(d) }
	online := []Expect{{Within: within(15 * time.Second), Presence: name, State: "online"}}
	zero := uint64(0)
	s := &Scenario{
		Name:  name,
		World: World{Vehicles: []Vehicle{{Name: name, Devices: []string{"tcu"}, Buses: cfg.Buses}}},
		Timeline: []Moment{{
			At: When{ByShare: true}, Say: "driving",
			Do: []Action{{Drive: name, Log: cfg.Log, Speed: cfg.Speed}}, Expect: online,
		}},
		Finally: []Expect{{Within: within(time.Minute), Delivery: name, Lost: &zero, Dup: &zero}},
	}
	at := func(share float64, say string, expect []Expect, do ...Action) {
		s.Timeline = append(s.Timeline, Moment{At: When{Share: share, ByShare: true}, Say: say, Do: do, Expect: expect})
	}
	if cfg.Faults == "tunnel" || cfg.Faults == "all" {
		lost := []Expect{{Within: within(20 * time.Second), Presence: name, State: "lost"}}
		at(0.20, "into a tunnel, the link is half-open", lost, Action{Link: name, State: "half-open"})
		at(0.45, "out of the tunnel", online, Action{Link: name, State: "up"})
	}
	if cfg.Faults == "power" || cfg.Faults == "all" {
		at(0.55, "power cut in the middle of a write", online,
			Action{Power: name, Cut: "at-next-write"}, Action{After: within(2 * time.Second), Power: name, On: true})
	}
	if cfg.Faults == "cloud" || cfg.Faults == "all" {
		at(0.75, "the cloud dies", online, Action{Broker: "kill"}, Action{After: within(3 * time.Second), Broker: "start"})
	}
	return s
}
