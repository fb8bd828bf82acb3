package scenario

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"telltale.dev/simulator/ledger"
)

// Result is how a scenario went.
type Result struct {
	Name    string
	Took    time.Duration
	Checks  []Check
	Ledgers []*ledger.Ledger // one for each delivery expectation
}

// Check is one expectation and how it went.
type Check struct {
	What string
	Took time.Duration
	Err  error // nil: as expected
}

// Failed counts the checks that did not go as expected.
func (r *Result) Failed() (n int) {
	for _, c := range r.Checks {
		if c.Err != nil {
			n++
		}
	}
	return n
}

// JUnit writes the result in the form that CI systems read.
func (r *Result) JUnit(out io.Writer) error {
	type failure struct {
		Message string `xml:"message,attr"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
	}
	suite := struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}{Name: r.Name, Tests: len(r.Checks), Failures: r.Failed(), Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
	for _, c := range r.Checks {
		one := testcase{Name: c.What, Class: r.Name, Time: fmt.Sprintf("%.3f", c.Took.Seconds())}
		if c.Err != nil {
			one.Failure = &failure{Message: c.Err.Error()}
		}
		suite.Cases = append(suite.Cases, one)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(out)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

// Table writes the checks and the ledgers for people.
func (r *Result) Table(out io.Writer) {
	for _, c := range r.Checks {
		mark, why := "ok  ", ""
		if c.Err != nil {
			mark, why = "FAIL", ": "+c.Err.Error()
		}
		fmt.Fprintf(out, "  %s  %5.1fs  %s%s\n", mark, c.Took.Seconds(), c.What, why)
	}
	for _, l := range r.Ledgers {
		fmt.Fprintln(out)
		l.Table(out)
	}
}
