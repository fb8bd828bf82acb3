package buffer

import "telltale.dev/protocol"

// claim is what a commit's records need, by class, in bytes.
type claim [protocol.Priorities + 1]int64

func demand(changes []*change) (d claim) {
	for _, c := range changes {
		for i := range c.appends {
			d[c.appends[i].Priority] += sizeOnDisk(len(c.appends[i].Payload))
		}
		for i := range c.checkpoints {
			d[c.checkpoints[i].Priority] += sizeOnDisk(len(c.checkpoints[i].Payload))
		}
	}
	return d
}

func (d claim) none() bool { return d == claim{} }

// sum gives the claim of all classes, with what each file needs beside its records.
func (d claim) sum() (total int64) {
	for class := range d {
		total += d.of(class)
	}
	return total
}

// most gives the class that needs most; 0 when none needs anything.
func (d claim) most() (most protocol.Priority) {
	for class := range d {
		if d[class] > d[most] {
			most = protocol.Priority(class)
		}
	}
	return most
}

func (d claim) of(class int) int64 {
	if d[class] == 0 {
		return 0
	}
	return d[class] + overhead
}
