package dbc_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/dbc"
)

// TestHostile reads texts made to be slow or large, in a time in proportion to their length.
func TestHostile(t *testing.T) {
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			f, problems, err := dbc.Parse("a.dbc", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) > dbc.MaxProblems+1 {
				t.Errorf("got %d problems", len(problems))
			}
			plan, problems, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{f}}})
			if err != nil {
				t.Fatal(err)
			}
			raw := make([]int64, plan.MaxSignals())
			layout, n := plan.Decode(0, &can.Frame{ID: 1, Len: 8}, raw)
			took := time.Since(start)
			t.Logf("%v: %v, %v, layout %d, %d signals", took.Round(time.Millisecond), plan, problems, layout, n)
			if took > 5*time.Second { // generous: a quadratic reading takes minutes
				t.Errorf("took %v", took)
			}
		})
	}
}

// hostile gives the texts.
func hostile() map[string]string {
	const size = 1 << 18
	const message = "BO_ 1 A: 8 X\n"
	return map[string]string{
		"open strings":         message + strings.Repeat("CM_ \"\n", size/6),
		"escaped quotes":       message + strings.Repeat("BU_ \\\"\n", size/6),
		"escaped quotes, open": message + "CM_ \"\n" + strings.Repeat("VAL_ 1 a \\\"\n", size/10),
		"escaped, closed":      message + "CM_ \"\n" + strings.Repeat("BU_ \\\"\n", size) + "\" x",
		"one line":             message + strings.Repeat("SG_ a:0|1@1+(1,0)[0|0]\"\" ", size/26),
		"one line of quotes":   message + strings.Repeat("\\\" ", size/3),
		"new symbols":          "NS_ :" + strings.Repeat(" A", size/2) + "\n" + message,
		"junk lines":           message + strings.Repeat("junk\n", size/5),
		"bad signals":          message + strings.Repeat("SG_ a:0|1\n", size/10),
		"messages alike":       strings.Repeat(message, size/13),
		"values of all":        message + strings.Repeat(" SG_ a:0|1@1+(1,0)[0|0]\"\"\n", size/27) + strings.Repeat("VAL_ 1 a 0\"\";\n", size/14),
		"large table":          "VAL_TABLE_ t " + strings.Repeat("0\"\"", size/3) + ";\n" + message + " SG_ a:0|1@1+(1,0)[0|0]\"\"\n" + strings.Repeat("VAL_ 1 a t;\n", size/12),
		"long word":            message + strings.Repeat("x", size),
		"ranges":               message + " SG_ m M:0|8@1+(1,0)[0|0]\"\"\n SG_ a m1:8|1@1+(1,0)[0|0]\"\"\n" + strings.Repeat("SG_MUL_VAL_ 1 a m 1-1,3-3,5-5;\n", size/32),
		"cycle":                message + cycle(20000),
		"chain":                message + chain(20000),
		"wide multiplexing":    message + wide(40),
		"many layouts":         message + many(5000),
	}
}

// cycle makes n multiplexors that select each other.
func cycle(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " SG_ s%d m0M:0|1@1+(1,0)[0|0]\"\"\n", i)
	}
	for i := range n {
		fmt.Fprintf(&b, "SG_MUL_VAL_ 1 s%d s%d 0-0;\n", i, (i+1)%n)
	}
	return b.String()
}

// chain makes n multiplexors, each selected by the one before.
func chain(n int) string {
	return strings.Replace(cycle(n), fmt.Sprintf("SG_MUL_VAL_ 1 s%d s0 0-0;\n", n-1), "", 1)
}

// wide makes n independent multiplexors: 3ⁿ combinations.
func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " SG_ m%d M:%d|1@1+(1,0)[0|0]\"\"\n SG_ a%d m0:%d|1@1+(1,0)[0|0]\"\"\n SG_ b%d m1:%d|1@1+(1,0)[0|0]\"\"\n", i, i, i, i, i, i)
	}
	for i := range n {
		fmt.Fprintf(&b, "SG_MUL_VAL_ 1 a%d m%d 0-0;\nSG_MUL_VAL_ 1 b%d m%d 1-1;\n", i, i, i, i)
	}
	return b.String()
}

// many makes one multiplexor with n values, and n signals for each frame.
func many(n int) string {
	var b strings.Builder
	b.WriteString(" SG_ m M:0|32@1+(1,0)[0|0]\"\"\n")
	for i := range n {
		fmt.Fprintf(&b, " SG_ c%d :%d|1@1+(1,0)[0|0]\"\"\n SG_ s%d m%d:%d|1@1+(1,0)[0|0]\"\"\n", i, i%64, i, i*1000, i%64)
	}
	return b.String()
}
