package heap

import (
	"runtime/metrics"
	"time"
)

// Names of the metrics, as package runtime/metrics describes them.
const (
	heapAllocs  = "/gc/heap/allocs:bytes"
	heapLive    = "/gc/heap/live:bytes"
	scanStack   = "/gc/scan/stack:bytes"
	scanGlobals = "/gc/scan/globals:bytes"
	heapObjects = "/memory/classes/heap/objects:bytes"
	heapFree    = "/memory/classes/heap/free:bytes"
)

// read asks the runtime. It stops nothing.
func read(now time.Time) sample {
	m := []metrics.Sample{
		{Name: heapAllocs}, {Name: heapLive}, {Name: scanStack}, {Name: scanGlobals}, {Name: heapObjects}, {Name: heapFree},
	}
	metrics.Read(m)
	value := func(i int) uint64 {
		if m[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that does not know it: the rules then have less to go by
		}
		return m[i].Value.Uint64()
	}
	s := sample{at: now, allocated: value(0), live: value(1), roots: value(2) + value(3), free: value(5)}
	if objects := value(4); objects > s.live {
		s.garbage = objects - s.live
	}
	return s
}
