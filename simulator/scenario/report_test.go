package scenario_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"telltale.dev/simulator/ledger"
	"telltale.dev/simulator/scenario"
)

var result = scenario.Result{
	Name: "trip", Took: 12 * time.Second,
	Checks: []scenario.Check{
		{What: "presence of anna is online", Took: 20 * time.Millisecond},
		{What: "state of anna has A<B & \"C\"", Took: time.Second, Err: errors.New("it is\x00 not known ]]> \xff")},
	},
	Ledgers: []*ledger.Ledger{{FramesSent: 98800}},
}

func TestJUnit(t *testing.T) {
	var out bytes.Buffer
	if err := result.JUnit(&out); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Class   string `xml:"classname,attr"`
			Time    string `xml:"time,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(out.Bytes(), &suite); err != nil {
		t.Fatalf("got %v of %s", err, out.String())
	}
	if suite.Name != "trip" || suite.Tests != 2 || suite.Failures != 1 || len(suite.Cases) != 2 {
		t.Fatalf("got %+v", suite)
	}
	if c := suite.Cases[0]; c.Failure != nil || c.Time != "0.020" || c.Class != "trip" {
		t.Errorf("got %+v, want no failure after 0.020 s", c)
	}
	if c := suite.Cases[1]; c.Failure == nil || c.Name != result.Checks[1].What || !strings.Contains(c.Failure.Message, "not known") {
		t.Errorf("got %+v, want a failure", c)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	result.Table(&out)
	for _, want := range []string{"  ok      0.0s  presence of anna is online\n", "  FAIL    1.0s  state of anna has", "98,800\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %q in it", out.String(), want)
		}
	}
	if got := result.Failed(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}
