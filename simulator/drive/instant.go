package drive

import (
	"fmt"
	"strings"
	"time"
)

// journal is what a log's parser shares with its Reader.
type journal struct {
	line     int       // number of the line being read, from 1
	given    bool      // the user says when the log starts: dates that are not understood do no harm
	warnings []warning // at most maxProblems
}

// warning is something about a line that was read all the same.
type warning struct {
	line int
	text string
}

// warn notes something about the line being read.
func (j *journal) warn(text string) {
	if len(j.warnings) < maxProblems {
		j.warnings = append(j.warnings, warning{j.line, text})
	}
}

// refusal ends the reading of a log: going on would give wrong frames.
type refusal struct {
	line   int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// instant is a date written in a log. The zero instant is no date.
type instant struct {
	at    int64  // µs since the Unix epoch; 0 unless known
	known bool   // the words have been understood
	words string // as written
	line  int
}

// expectedDate describes the dates that are understood.
const expectedDate = "a date from 1970 to 2262 such as: date Sat Sep 30 03:06:13.191 pm 2017"

// instant reads the words of a date. No words are no date.
func (j *journal) instant(text []byte) instant {
	words := strings.Join(strings.Fields(plainText(text)), " ")
	i := instant{words: words, line: j.line}
	i.at, i.known = date(words)
	return i
}

// unread says that there are words which were not understood.
func (i instant) unread() bool { return !i.known && i.words != "" }

// outside says why frames whose times count from i, the first of them from
// origin, have no place in time; nil when they have one. Only a start given by
// the user makes up for words that were not understood, and only once: nobody
// knows how long after the first block a second one began.
func (j *journal) outside(i, origin instant) *refusal {
	switch {
	case !j.given && i.unread():
		return &refusal{i.line, fmt.Sprintf("the date %q is not understood, and a wrong one would be stored: "+
			"write it as 2025-01-06 08:30:00, or say with --start 2025-01-06T08:30:00Z when the first frame was recorded", i.words)}
	case j.given && (i.unread() || origin.unread()) && i.words != origin.words:
		return &refusal{i.line, fmt.Sprintf("nobody knows how long after %q the date %q is: write them as 2025-01-06 08:30:00", origin.words, i.words)}
	}
	return nil
}

// differ is how far the dates of a log's header and of its first block may be apart without a word.
const differ = 24 * time.Hour

// stamp writes a time for people.
func stamp(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05") }
