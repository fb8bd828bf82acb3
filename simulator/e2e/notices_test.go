package e2e_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/world"
)

// Where the programs are broken.
const (
	senderFile = "agent/link/uplink/sender.go"
	decodeFile = "cloud/ingest/decode.go"
	rowsFile   = "cloud/lake/rows.go"
)

// sentTwice lets the cloud store each message twice.
var sentTwice = edit{
	"cloud/ingest/front.go",
	"\tf.cfg.Publisher.Publish(m, func(",
	"\tf.cfg.Publisher.Publish(m, func(uint64, error) {})\n\tf.cfg.Publisher.Publish(m, func(",
}

// breakages are known ways to break the programs, and what the check says of each.
var breakages = []struct {
	name  string
	edits []edit
	want  string // in the error; "": the check is content
	lost  uint64
	twice bool
}{
	{name: "nothing is broken"},
	{name: "the link acknowledges a batch without sending it", want: "lost is 1", lost: 1, edits: []edit{{
		senderFile,
		"\tswitch err := s.write(it, p); {\n",
		"\tif it.kind == recordKind && it.id.Seq == 3 {\n\t\ts.u.cfg.Buffer.Ack(it.position)\n\t\treturn nil\n\t}\n" +
			"\tswitch err := s.write(it, p); {\n",
	}}},
	{name: "the processor passes over a batch", want: "lost is 1", lost: 1, edits: []edit{{
		decodeFile,
		"\tif done, f := p.known(h.ID, m, e); done || f != nil {",
		"\tif h.ID.Seq == 3 {\n\t\treturn nil\n\t}\n\tif done, f := p.known(h.ID, m, e); done || f != nil {",
	}}},
	{name: "every batch comes twice", edits: []edit{sentTwice}},
	{name: "every batch comes twice and nobody looks", want: "duplicated is", twice: true, edits: []edit{sentTwice, {
		decodeFile,
		"\tcase ledger.Duplicate:\n\t\tp.ledger.Repeat(",
		"\tcase ledger.Duplicate:\n\t\treturn false, nil\n\t\tp.ledger.Repeat(",
	}}},
	{name: "the lake changes a value", want: "the stored samples are not those that were sent", edits: []edit{{
		rowsFile,
		"\t\tl.appendGroup(g, batch)\n\t}\n",
		"\t\tl.appendGroup(g, batch)\n\t}\n\tif b.ID.Seq == 3 {\n\t\tl.rows[len(l.rows)-1].raw++\n\t}\n",
	}}},
	{name: "the lake leaves a row out", want: "samples_collected is", edits: []edit{{
		rowsFile,
		"\t\tl.appendGroup(g, batch)\n\t}\n",
		"\t\tl.appendGroup(g, batch)\n\t}\n\tif b.ID.Seq == 3 {\n\t\tl.rows = l.rows[:len(l.rows)-1]\n\t}\n",
	}}},
}

// missingSyncs are ways in which one fsync is not done, and the power cut that tells.
var missingSyncs = []struct {
	name string
	edit edit
	cut  string
}{
	{"the buffer does not sync its segments", edit{
		"agent/buffer/file.go",
		"Timeout: openTimeout, NoFreelistSync: true,",
		"Timeout: openTimeout, NoSync: true, NoFreelistSync: true,",
	}, cutAgentPower},
	{"the backbone does not sync its streams", edit{
		"cloud/backbone/embedded.go", "SyncAlways: true,", "SyncAlways: false,",
	}, cutCloudPower},
	{"the lake does not sync its files", edit{
		"cloud/lake/commit.go", "if err := f.Sync(); err != nil {", "if err := error(nil); err != nil {",
	}, cutCloudPower},
}

// TestBreakages: the sources have the texts that the tests below break.
func TestBreakages(t *testing.T) {
	for _, c := range breakages {
		overlay(t, c.edits)
	}
	for _, c := range missingSyncs {
		overlay(t, []edit{c.edit})
	}
}

// TestTheCheckNotices breaks the programs in known ways: a check that never
// fails proves nothing.
func TestTheCheckNotices(t *testing.T) {
	if number(t, "TELLTALE_ROUNDS", 0) == 0 {
		t.Skip("TELLTALE_ROUNDS is not set: it builds the programs anew for each way to break them; make system does it")
	}
	for _, c := range breakages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := quietRound(t, broken(t, c.edits...))
			noticed(t, err, c.want)
			if l != nil && (l.Lost != c.lost || l.Duplicated > 0 != c.twice) {
				t.Errorf("got lost %d, duplicated %d, want lost %d, duplicated %t", l.Lost, l.Duplicated, c.lost, c.twice)
			}
		})
	}
}

// quietRound is a short drive without faults, in about 30 batches.
func quietRound(t *testing.T, built string) (*ledger.Ledger, error) {
	t.Helper()
	r := &round{dir: t.TempDir(), programs: built, plan: plan{car: cars[0], setup: setups[1], speed: 20, length: 1500 * time.Millisecond, flush: 300 * time.Millisecond}}
	return r.play(t.Context())
}

// noticed holds an error of a round against what it should tell.
func noticed(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want a ledger that adds up", err)
	case want != "" && (!errors.Is(err, ledger.ErrDoesNotAddUp) || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want a ledger that does not add up with %q", err, want)
	default:
		t.Logf("the check says: %v", err)
	}
}

// patience is how many rounds with power cuts a missing fsync may stay unseen.
const patience = 8

// TestTheCheckNoticesFsync removes one fsync. Nothing but a power cut below the page cache can tell.
func TestTheCheckNoticesFsync(t *testing.T) {
	if number(t, "TELLTALE_POWERCUTS", 0) == 0 {
		t.Skip("TELLTALE_POWERCUTS is not set: it takes root and some minutes; make system does it")
	}
	for _, c := range missingSyncs {
		t.Run(c.name, func(t *testing.T) {
			built, dir := broken(t, c.edit), folder(t)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if _, err := world.New(world.Config{Dir: dir, Programs: built}); err != nil {
				t.Fatal(err)
			}
			d := newDisks(t, dir)
			for n := range patience {
				r := &round{plan: cutPlan(n, c.cut), dir: dir, programs: built, power: d, built: d.agent.sync}
				_, err := r.play(t.Context())
				if err != nil {
					t.Logf("after %d rounds the check says: %v", n+1, err)
					return
				}
			}
			t.Errorf("got %d rounds that add up, want one that does not", patience)
		})
	}
}

// cutPlan is a drive of many batches with one cut in its middle, a little later in each round.
func cutPlan(n int, cut string) plan {
	at := time.Duration(700+100*n) * time.Millisecond
	return plan{
		round: n, car: cars[0], setup: setups[1], speed: 20, length: 2 * time.Second, flush: 500 * time.Millisecond,
		steps: []step{{at, cut}, {at + 200*time.Millisecond, launchAgent}, {at + 200*time.Millisecond, launchCloud}},
	}
}
