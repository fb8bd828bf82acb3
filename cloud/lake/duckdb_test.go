package lake_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale.dev/protocol/batches"
)

// TestDuckDB: the documented way to read many parts finds the rows of old and new ones together,
// and in old ones null for what they lack.
func TestDuckDB(t *testing.T) {
	dir := t.TempDir()
	reader(t, "duckdb")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "first-layout"))); err != nil {
		t.Fatal(err)
	}
	w, s, b := open(t, dir), schema(t), batch(3, start, 1)
	b.TimeQuality = batches.TimeGNSS
	b.Rows = append(b.Rows, batches.GroupRows{Group: 1, Time: []int64{start.UnixMicro()}, Columns: [][]int64{{bitsOf(-0.5)}}})
	if err := w.Append("car1", "everything", "research", start, s, b); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(5, 6, nil); err != nil {
		t.Fatal(err)
	}
	lake := fmt.Sprintf("read_parquet('%s/date=*/*.parquet', union_by_name=true)", dir)
	got := duckdb(t, "SELECT seq, value, raw, raw_bits, coalesce(unit, '') AS unit, purpose, time_quality, epoch_us(received) FROM "+lake+
		" WHERE vid = 'car1' AND signal IN ('Speed', 'Ratio') ORDER BY signal, seq, time")
	want := []string{
		`["1",-0.5,"-4620693217682128896",null,"1",null,null,null]`,
		`["1","NaN","9221120237041090561",null,"1",null,null,null]`,
		fmt.Sprintf(`["3",-0.5,null,"13826050856027422720","1","research","gnss","%d"]`, start.UnixMicro()),
		`["1",0,"500",null,"km/h",null,null,null]`,
		`["1",-5,"0",null,"km/h",null,null,null]`,
		`["1",650.35,"65535",null,"km/h",null,null,null]`,
		`["2",-4.99,"1",null,"km/h",null,null,null]`,
		`["2",-4.98,"2",null,"km/h",null,null,null]`,
		fmt.Sprintf(`["3",-5,"0",null,"km/h","research","gnss","%d"]`, start.UnixMicro()),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDuckDBTies: the documented line gives the samples of a signal in the order of the bus.
func TestDuckDBTies(t *testing.T) {
	reader(t, "duckdb")
	got := duckdb(t, fmt.Sprintf("SELECT raw FROM read_parquet('%s/date=*/*.parquet', union_by_name=true, file_row_number=true)"+
		" WHERE vid = 'car1' AND signal = 'Speed' ORDER BY time, boot, seq, file_row_number", ties(t)))
	var want []string
	for i := range 21 {
		want = append(want, fmt.Sprintf(`["%d"]`, i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want 0 to 20", got)
	}
}

// duckdb gives the rows of a query as lines of JSON.
func duckdb(t *testing.T, query string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "query.mjs", query)
	cmd.Dir = filepath.Join("testdata", "duckdb")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
