package frames

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// sinceKernelStart says how long after the start of the kernel something was, at
// that time in µs since the Unix epoch; "" where the system does not tell, or
// the clock has been set since.
// Source: proc_uptime(5), in steps of 10 ms.
func sinceKernelStart(at int64) string {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return ""
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	up, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return ""
	}
	after := time.Duration(up*float64(time.Second)) - time.Since(time.UnixMicro(at))
	if after < 0 {
		return ""
	}
	return after.Round(10 * time.Millisecond).String()
}
