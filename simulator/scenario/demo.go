package scenario

import (
	"slices"
	"time"
)

// DemoConfig says what a demonstration with the user's own log is made of.
type DemoConfig struct {
	Log    string
	Buses  map[string]Bus
	Start  time.Time // when the first frame was recorded; zero: what the log says
	Speed  float64   // 0: the log in 60 s
	Faults string    // none, tunnel, power, cloud or all
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

// Times of a demonstration: how long to wait for the cloud to notice, how long
// power and cloud are away, and how long everything that waits may take to be
// handed over.
const (
	demoNotice   = 20 * time.Second
	demoAway     = 2 * time.Second
	demoHandover = time.Minute
)

// Demo makes the scenario of a demonstration: one vehicle, one drive, and the
// chosen faults at shares of the drive.
func Demo(cfg DemoConfig) *Scenario {
	const name = "demo"
	presence := func(state string) []Expect {
		return []Expect{{Within: Duration(demoNotice), That: &Presence{Of: name, State: state}}}
	}
	away := Duration(demoAway)
	zero := uint64(0)
	s := &Scenario{
		Name:    name,
		World:   World{Vehicles: []Vehicle{{Name: name, Devices: []Device{{Name: "tcu", Buses: cfg.Buses}}}}},
		Finally: []Expect{{Within: Duration(demoHandover), That: &Delivery{Of: name, Lost: &zero, Duplicated: &zero}}},
	}
	at := func(share float64, say string, expect []Expect, do Action) {
		s.Timeline = append(s.Timeline, Moment{At: When{Share: share, ByShare: true}, Say: say, Do: []Action{do}, Expect: expect})
	}
	chosen := func(fault string) bool { return cfg.Faults == fault || cfg.Faults == "all" }
	at(0, "driving", presence("online"), Action{Verb: &Drive{Vehicle: name, Log: cfg.Log, Start: Instant(cfg.Start), Speed: cfg.Speed}})
	if chosen("tunnel") {
		at(0.20, "into a tunnel, the link is half-open", presence("lost"), Action{Verb: &Link{Device: name, State: "half-open"}})
		at(0.45, "out of the tunnel", presence("online"), Action{Verb: &Link{Device: name, State: "up"}})
	}
	if chosen("power") {
		at(0.50, "the power is cut", presence("lost"), Action{Verb: &Power{Device: name, Cut: "at-next-write"}})
		at(0.55, "", presence("online"), Action{Verb: &Power{Device: name, On: true}})
	}
	if chosen("cloud") {
		at(0.75, "the cloud dies", nil, Action{Verb: &Broker{What: "kill"}})
		at(0.80, "", presence("online"), Action{After: away, Verb: &Broker{What: "start"}})
	}
	return s
}
