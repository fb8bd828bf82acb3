package cloud_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

// TestMetricNames: who has dashboards and alarms finds the same names after an upgrade, with the same meaning.
func TestMetricNames(t *testing.T) {
	s := start(t, config(t.TempDir()))
	_, text := s.body("/metrics")
	var told []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") && strings.Contains(line, " telltale_") {
			told = append(told, line)
		}
	}
	slices.Sort(told)
	got, golden := strings.Join(told, ""), filepath.Join("testdata", "metrics.txt")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got other names, kinds or meanings than %s:\n%s", golden, got)
	}
}
