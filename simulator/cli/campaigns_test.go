package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/client"
)

// TestAllAnswered: an answer of a vehicle that is not in the list stands in for nobody.
func TestAllAnswered(t *testing.T) {
	list := []vehicle{{VID: "anna"}, {VID: "bert"}}
	v := campaignView{Counts: map[string]int{"ACTIVE": 2}}
	if !v.allAnswered(list) {
		t.Error("two answers without names are too few")
	}
	of := func(vids ...string) *campaignView {
		v := campaignView{Counts: map[string]int{"ACTIVE": len(vids)}}
		v.Vehicles = make(map[string]struct {
			State  string `json:"state"`
			Reason string `json:"reason"`
			Detail string `json:"detail"`
			Runs   uint64 `json:"runs"`
		})
		for _, vid := range vids {
			v.Vehicles[vid] = struct {
				State  string `json:"state"`
				Reason string `json:"reason"`
				Detail string `json:"detail"`
				Runs   uint64 `json:"runs"`
			}{State: "ACTIVE"}
		}
		return &v
	}
	if of("anna", "gone").allAnswered(list) {
		t.Error("an answer of a vehicle that is gone counts as one of bert")
	}
	if !of("anna", "bert", "gone").allAnswered(list) {
		t.Error("the answers of both are not enough")
	}
}

// TestPushRefused: a campaign that is refused by its reader, by the cloud or by a vehicle is an error with the place in the file; who
// has not answered yet is waited for.
func TestPushRefused(t *testing.T) {
	const good = "apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 2}\nspec:\n  signals: {s: {path: A.B.C}}\n  collect: [{id: a, signals: [s]}]\n"
	asked := 0
	answers := map[string]string{ // by what the PUT is answered
		"active":   `{"id":"x","revision":2,"state":"ACTIVE","summary":"2 ACTIVE","vehicles":{"ACTIVE":1},"by_vehicle":{"anna":{"state":"ACTIVE"}}}`,
		"rejected": `{"id":"x","revision":2,"state":"REJECTED","reason":"UNKNOWN_SIGNAL","detail":"spec.signals.s.path: none","summary":"2 REJECTED","vehicles":{"REJECTED":1},"by_vehicle":{"anna":{"state":"REJECTED"}}}`,
		"silent":   "",
	}
	const waiting = `{"id":"x","revision":2,"state":"PENDING","summary":"2 PENDING","vehicles":{"PENDING":1},"by_vehicle":{"anna":{"state":"PENDING"}}}`
	for _, test := range []struct{ name, text, put, then, want string }{
		{"not a campaign", good + "more: 1\n", "", "", "FILE:7:1: field more is not known"},
		{"refused by the cloud", good, `{"title":"x","detail":"STALE_REVISION: metadata.revision: expected more than 2"}`, "",
			"FILE:3:29: STALE_REVISION: metadata.revision: expected more than 2"},
		{"refused without a field", good, `{"title":"x","detail":"the disk is full: nothing is taken"}`, "", "FILE: the disk is full: nothing is taken"},
		{"rejected by the vehicle", good, "{}", "rejected", "FILE:5:23: UNKNOWN_SIGNAL: spec.signals.s.path: none"},
		{"accepted", good, "{}", "active", ""},
		{"no answer", good, "{}", "silent", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked = 0
			cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPut && strings.Contains(test.put, "title"):
					w.WriteHeader(http.StatusConflict)
					fmt.Fprint(w, test.put)
				case r.Method == http.MethodPut:
					fmt.Fprint(w, test.put)
				case r.URL.Path == "/v1/vehicles":
					fmt.Fprint(w, `[{"vid":"anna"}]`)
				case asked < 1 || answers[test.then] == "":
					asked++
					fmt.Fprint(w, waiting)
				default:
					asked++
					fmt.Fprint(w, answers[test.then])
				}
			}))
			defer cloud.Close()
			file := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			push := campaignPushCommand{Client: client.Client{API: cloud.URL}, File: file, Wait: time.Minute}
			if test.then == "silent" {
				push.Wait = 0
			}
			got := ""
			if err := push.Run(t.Context()); err != nil {
				got = strings.ReplaceAll(err.Error(), file, "FILE")
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if answers[test.then] != "" && asked != 2 {
				t.Errorf("asked %d times, want until the vehicle has answered", asked)
			}
		})
	}
}

// TestOnceStarted: the starter campaign is pushed until it once worked, and never again.
func TestOnceStarted(t *testing.T) {
	mark, calls := filepath.Join(t.TempDir(), "starter"), 0
	fails := errors.New("no cloud")
	for _, err := range []error{fails, nil, nil} {
		if got := onceStarted(mark, func() error { calls++; return err }); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	if calls != 2 {
		t.Errorf("pushed %d times, want 2", calls)
	}
}
