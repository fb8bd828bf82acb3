package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale.dev/simulator/world"
)

// plan is what happens in one round. It is made from two numbers, so that a
// round that failed can be played again; moments are on the wall clock, so that
// it will be nearly the same, not exactly.
type plan struct {
	seed   uint64
	round  int
	car    car
	setup  setup
	speed  float64
	length time.Duration // of the drive
	start  time.Time     // of source time; zero: as recorded
	flush  time.Duration // how long a sample may wait for its Parquet file
	steps  []step
	// restart: the agent is launched, killed after earlyKill and launched again.
	restart   bool
	earlyKill time.Duration
}

// step is one thing that happens.
type step struct {
	at time.Duration // since the drive began
	do string
}

// What a step does.
const (
	killAgent     = "kill agent"
	killInWrite   = "kill agent at its next write"
	launchAgent   = "launch agent"
	killCloud     = "kill cloud"
	killInCommit  = "kill cloud at its next lake file"
	launchCloud   = "launch cloud"
	cutLink       = "cut link"
	halfOpenLink  = "half-open link"
	slowLink      = "slow link"
	linkUp        = "link up"
	pushCampaign  = "push campaign"
	cutAgentPower = "cut power of agent below the page cache"
	cutCloudPower = "cut power of cloud below the page cache"
	cutAllPower   = "cut power of both below the page cache"
)

// car is a recording and what its buses mean.
type car struct {
	log   string
	buses []world.Bus
}

// recordings is the folder of the real input.
var recordings = filepath.Join("..", "recordings")

// cars are driven in turn, a series of rounds each: a passenger car and a truck with J1939.
var cars = []car{
	{"rav4.log.zst", []world.Bus{
		{Name: "can0", DBC: []string{filepath.Join(recordings, "toyota_new_mc_pt.dbc")}},
		{Name: "can1", DBC: []string{filepath.Join(recordings, "toyota_adas.dbc")}},
	}},
	{"truck1.log.zst", []world.Bus{
		{Name: "can1", DBC: []string{filepath.Join(recordings, "j1939.dbc")}, J1939: true},
		{Name: "can2", DBC: []string{filepath.Join(recordings, "canmod-gps.dbc")}},
	}},
}

// setup is what the vehicle collects.
type setup struct {
	name      string
	campaigns []string // documents; none: the default
	// everything says that each sample is collected in one rule, so that the player knows what must be stored.
	everything bool
}

const everythingEach = `{apiVersion: campaigns.v1, kind: Campaign, metadata: {id: %s, revision: 1},
spec: {priority: %s, signals: {some: {path: "%s.*.*"}}, collect: [{id: all, signals: [some]}], encoding: {batch: {age: %s}}}}`

// setups are the ways of collecting that rounds try in turn.
var setups = []setup{
	{name: "default", everything: true},
	{name: "batches of 1 s", campaigns: []string{fmt.Sprintf(everythingEach, "quick", "CS1", "*", "1s")}, everything: true},
	{name: "batches of 60 s", campaigns: []string{fmt.Sprintf(everythingEach, "patient", "CS1", "*", "60s")}, everything: true},
	{name: "urgent batches of 5 s", campaigns: []string{fmt.Sprintf(everythingEach, "urgent", "CS5", "*", "5s")}, everything: true},
	{name: "a campaign for each bus", campaigns: []string{
		fmt.Sprintf(everythingEach, "bulk", "CS1", "*[02]", "60s"), fmt.Sprintf(everythingEach, "hot", "CS4", "*1", "2s"),
	}},
}

// pushed is the campaign that fleet operations push in some rounds.
var pushed = fmt.Sprintf(everythingEach, "pushed", "CS3", "*", "3s")

// draws are the random choices of a round.
type draws struct{ *rand.Rand }

// between gives a time from least to most.
func (d draws) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)+1))
}

// afterDrive is how long faults go on when the drive is over.
const afterDrive = 700 * time.Millisecond

// newPlan draws a round. With disks the power is cut below the page cache, else processes are killed.
func newPlan(seed uint64, round int, disks bool) plan {
	d := draws{rand.New(rand.NewPCG(seed, uint64(round)))}
	p := plan{
		seed: seed, round: round, car: cars[round/seriesRounds%len(cars)], setup: setups[round%len(setups)],
		speed: 8 + 22*d.Float64(), length: d.between(1500*time.Millisecond, 3*time.Second),
		flush: d.between(100*time.Millisecond, 1500*time.Millisecond), restart: d.IntN(4) == 0,
		earlyKill: d.between(0, 200*time.Millisecond),
	}
	if d.IntN(3) == 0 { // batches that lie in two days
		p.start = time.Date(2026, 2, 28, 23, 59, 30+d.IntN(30), 0, time.UTC)
	}
	incidents := kills
	if disks {
		incidents = cuts
		p.steps = append(p.steps, cuts[d.IntN(3)](d, d.between(500*time.Millisecond, p.length))...)
	}
	for range 2 + d.IntN(4) {
		at := d.between(0, p.length+afterDrive)
		p.steps = append(p.steps, incidents[d.IntN(len(incidents))](d, at)...)
	}
	if !disks && d.IntN(4) == 0 {
		p.setup.everything = false // the change of campaigns falls between two frames that nobody knows
		p.steps = append(p.steps, step{d.between(0, p.length), pushCampaign})
	}
	slices.SortStableFunc(p.steps, func(a, b step) int { return int(a.at - b.at) })
	return p
}

// incident is one way to make trouble from a moment on.
type incident func(d draws, at time.Duration) []step

// outage is a fault and its end.
func outage(fault, end string, least, most time.Duration) incident {
	return func(d draws, at time.Duration) []step {
		return []step{{at, fault}, {at + d.between(least, most), end}}
	}
}

// twice lets a fault come again soon after its end.
func twice(fault, end string) incident {
	return func(d draws, at time.Duration) []step {
		back := at + d.between(0, 300*time.Millisecond)
		again := back + d.between(0, 400*time.Millisecond)
		return []step{{at, fault}, {back, end}, {again, fault}, {again + d.between(0, 300*time.Millisecond), end}}
	}
}

// both lets two incidents begin at the same moment.
func both(a, b incident) incident {
	return func(d draws, at time.Duration) []step { return append(a(d, at), b(d, at)...) }
}

const (
	moment = 50 * time.Millisecond
	short  = 600 * time.Millisecond
	long   = 1500 * time.Millisecond
)

// kills are the incidents of TestRounds.
var kills = []incident{
	outage(killAgent, launchAgent, 0, short),
	outage(killInWrite, launchAgent, 0, short),
	outage(killCloud, launchCloud, 0, short),
	outage(killInCommit, launchCloud, 0, short),
	outage(cutLink, linkUp, moment, short),
	outage(halfOpenLink, linkUp, moment, long),
	outage(slowLink, linkUp, short, long),
	twice(killAgent, launchAgent),
	twice(killInWrite, launchAgent),
	twice(killCloud, launchCloud),
	both(outage(killAgent, launchAgent, 0, short), outage(killCloud, launchCloud, 0, short)),
	both(outage(halfOpenLink, linkUp, moment, long), outage(killCloud, launchCloud, 0, short)),
	both(outage(cutLink, linkUp, moment, short), outage(killInWrite, launchAgent, 0, short)),
}

// cuts are the incidents of TestPowerCuts; the first three cut power.
var cuts = []incident{
	outage(cutAgentPower, launchAgent, 0, short),
	outage(cutCloudPower, launchCloud, 0, short),
	both(outage(cutAllPower, launchAgent, 0, short), outage(cutAllPower, launchCloud, 0, short)),
	outage(halfOpenLink, linkUp, moment, long),
	outage(killAgent, launchAgent, 0, short),
	outage(killCloud, launchCloud, 0, short),
	twice(cutAgentPower, launchAgent),
	twice(cutCloudPower, launchCloud),
}

// String tells the plan in a few lines.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d round %d: %s, %s, speed %.1f for %v, lake files after %v", p.seed, p.round, p.car.log, p.setup.name, p.speed,
		p.length.Round(time.Millisecond), p.flush.Round(time.Millisecond))
	if !p.start.IsZero() {
		fmt.Fprintf(&b, ", starting at %s", p.start.Format(time.RFC3339))
	}
	if p.restart {
		b.WriteString(", the agent killed soon after its start")
	}
	return b.String()
}
