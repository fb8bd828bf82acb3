package broker

// fifo is a queue of entries that gives its memory back. The zero value is empty.
type fifo struct {
	entries []entry
	head    int // entries before it are gone
}

func (f *fifo) len() int { return len(f.entries) - f.head }

func (f *fifo) push(e entry) { f.entries = append(f.entries, e) }

// front is valid until the next call.
func (f *fifo) front() *entry { return &f.entries[f.head] }

func (f *fifo) pop() entry {
	e := f.entries[f.head]
	f.entries[f.head] = entry{}
	f.head++
	switch {
	case f.head == len(f.entries):
		f.entries, f.head = f.entries[:0], 0
		if cap(f.entries) > 256 {
			f.entries = nil
		}
	case f.head >= 64 && f.head*2 >= len(f.entries):
		f.filter(func(*entry) bool { return true })
	}
	return e
}

// rest gives what is queued, oldest first.
func (f *fifo) rest() []entry { return f.entries[f.head:] }

// filter keeps the entries for which keep is true, in order.
func (f *fifo) filter(keep func(*entry) bool) {
	kept := f.entries[:0]
	for i := f.head; i < len(f.entries); i++ {
		if keep(&f.entries[i]) {
			kept = append(kept, f.entries[i])
		}
	}
	clear(f.entries[len(kept):])
	f.entries, f.head = kept, 0
}
