package drive

// timeline gives the times at which the frames of a log are played. They are
// those of the log, but go along the file: where the log's clock was set back,
// counting goes on from the latest time so far without a step, as canplayer
// does it (can-utils, canplayer.c). Gaps forward stay as they are.
type timeline struct {
	shift   int64 // µs added to recorded times
	latest  int64 // of the times so far, µs since the epoch
	started bool
	gap     Gap // the steps forward
	back    Gap // the steps back
}

// Gap tells of the steps between the frames of a log.
type Gap struct {
	Count  int   // how many there are
	From   int64 // recorded time, µs since the epoch, in front of the longest
	Length int64 // of the longest, µs
}

// setBack is from when on a time before the last one is a clock that was set
// back, in µs. Less is frames of several buses in another order. canplayer
// compares whole seconds, too.
const setBack = 1_000_000

// at gives the time at which a frame recorded at a time is played. Frames come in the order of the file.
func (t *timeline) at(recorded int64) int64 {
	played := recorded + t.shift
	switch step := played - t.latest; {
	case !t.started:
		t.started, t.latest = true, played
	case step <= -setBack:
		t.back.add(t.latest-t.shift, -step)
		t.shift -= step
		played = t.latest
	default:
		t.gap.add(t.latest-t.shift, step)
	}
	t.latest = max(t.latest, played)
	return played
}

// add notes a stretch.
func (g *Gap) add(from, length int64) {
	g.Count++
	if length > g.Length {
		g.From, g.Length = from, length
	}
}
