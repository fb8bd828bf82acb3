package drive

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The dates of logs come in the language of the computer that recorded them:
//
//	Sat Sep 30 03:06:13.191 pm 2017     Vector, in any language: lun gen 6 08:30:00 2025
//	2025-01-06T08:30:00.250+01:00       ISO 8601
//	06.01.2025 08:30:00.000             day first, when there are dots
//	Wed, 08 Nov 2023 21:19:34 GMT       RFC 5322
//	周一 1月 6 上午 08:30:00 2025         also in the codes of Windows
//
// A date without a time zone is taken as UTC. What is not surely understood is
// no date: of 01/06/2025 nobody knows the month.

// dateParts is what is known of a date while its words are read. Zero means not yet.
type dateParts struct {
	year, month, day int
	clock            time.Duration // since midnight
	timed            bool          // clock is set
	half             string        // am or pm
	zone             time.Duration // east of Greenwich
	zoned            bool
	names            []string // weekday and month
}

// date reads a date and a time of day as µs since the Unix epoch, 0 to latest.
func date(text string) (us int64, ok bool) {
	var p dateParts
	for _, word := range strings.Fields(strings.ToLower(text)) {
		if !p.word(strings.TrimRight(word, ",")) {
			return 0, false
		}
	}
	if !p.name() || !p.timed || p.year == 0 || p.day == 0 {
		return 0, false
	}
	day := time.Date(p.year, time.Month(p.month), p.day, 0, 0, 0, 0, time.UTC)
	if day.Day() != p.day || p.year > 2262 {
		return 0, false
	}
	clock, noon := p.clock, 12*time.Hour
	if p.half != "" && clock < noon+time.Hour { // some of Vector's programs write 15:06:13 pm, and even 13:14:48 am
		clock %= noon
		if p.half == "pm" {
			clock += noon
		}
	}
	us = day.Add(clock - p.zone).UnixMicro()
	return us, us >= 0 && us <= latest
}

// ParseDate reads a date and a time of day as they stand in logs, for instance 2025-01-06T08:30:00Z.
func ParseDate(text string) (time.Time, bool) {
	us, ok := date(text)
	return time.UnixMicro(us).UTC(), ok
}

// word takes one word, in lower case.
func (p *dateParts) word(word string) bool {
	if day, clock, ok := strings.Cut(word, "t"); ok && digits(day, 8, 10) && strings.Contains(clock, ":") {
		return p.numbers(day) && p.time(clock)
	}
	half := halves[word]
	switch first := (word + " ")[0]; {
	case half != "":
		ok := p.half == ""
		p.half = half
		return ok
	case zones[word] || first == '+' || first == '-':
		return p.offset(word)
	case strings.Contains(word, ":"):
		return p.time(word)
	case first >= '0' && first <= '9':
		return p.number(strings.TrimRight(word, ".")) || p.numbers(word) || p.counted(word)
	case !fillers[word]:
		p.names = append(p.names, word)
	}
	return true
}

// zones are the names of the time zone of Greenwich.
var zones = map[string]bool{"gmt": true, "utc": true, "z": true}

// number takes a number by itself: of four digits the year, of one or two the day.
func (p *dateParts) number(word string) bool {
	n, err := strconv.Atoi(word)
	switch {
	case err == nil && len(word) == 4:
		return set(&p.year, n)
	case err == nil && len(word) <= 2:
		return set(&p.day, n)
	}
	return false
}

// set sets what is not yet known.
func set(part *int, n int) bool {
	ok := *part == 0 && n > 0
	*part = n
	return ok
}

// numbers takes 2025-01-06, 2025/01/06, 06.01.2025, and 13/01/2025 where only one of two can be the month.
func (p *dateParts) numbers(word string) bool {
	for _, sep := range []string{"-", ".", "/"} {
		if parts := strings.Split(strings.TrimRight(word, "."), sep); len(parts) == 3 {
			year, month, day, ok := ordered(parts, sep)
			return ok && set(&p.year, year) && set(&p.month, month) && month <= 12 && set(&p.day, day)
		}
	}
	return false
}

// ordered tells year, month and day apart.
func ordered(parts []string, sep string) (year, month, day int, ok bool) {
	var n [3]int
	for i, part := range parts {
		var err error
		if n[i], err = strconv.Atoi(part); err != nil || n[i] <= 0 {
			return 0, 0, 0, false
		}
	}
	switch {
	case len(parts[0]) == 4:
		return n[0], n[1], n[2], true
	case len(parts[2]) != 4:
		return 0, 0, 0, false
	case sep == "." || n[0] > 12 || n[0] == n[1]:
		return n[2], n[1], n[0], true
	}
	return n[2], n[0], n[1], n[1] > 12 // else either may be the month
}

// counted takes 2025年, 1月 and 6日, also all in one word.
func (p *dateParts) counted(word string) bool {
	for word != "" {
		end := len(word) - len(strings.TrimLeft(word, "0123456789"))
		n, err := strconv.Atoi(word[:end])
		if err != nil {
			return false
		}
		word = word[end:]
		switch {
		case cutUnit(&word, units.year):
			if end != 4 || !set(&p.year, n) {
				return false
			}
		case cutUnit(&word, units.month):
			if n > 12 || !set(&p.month, n) {
				return false
			}
		case cutUnit(&word, units.day):
			if !set(&p.day, n) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// time takes 8:30, 08:30:00, 08:30:00.123, PEAK's 08:30:00.123.4, and 08:30:00Z or 08:30:00+01:00.
func (p *dateParts) time(word string) bool {
	if at := strings.IndexAny(word, "+-z"); at > 0 {
		if !p.offset(word[at:]) {
			return false
		}
		word = word[:at]
	}
	word, fraction, _ := strings.Cut(word, ".")
	clock, ok := hours(word)
	if p.timed || !ok {
		return false
	}
	nanos := (strings.ReplaceAll(fraction, ".", "") + "000000000")[:9] // the last dot of PEAK's divides nothing
	n, err := strconv.ParseUint(nanos, 10, 64)
	p.clock, p.timed = clock+time.Duration(n), true
	return err == nil
}

// hours reads 8:30 or 08:30:59.
func hours(word string) (time.Duration, bool) {
	parts := strings.Split(word, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	sum, unit, most := time.Duration(0), time.Hour, uint64(23)
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || n > most || len(part) > 2 {
			return 0, false
		}
		sum += time.Duration(n) * unit
		unit, most = unit/60, 59
	}
	return sum, true
}

// offset takes a time zone: GMT, UTC, Z, +0100, -03:30.
func (p *dateParts) offset(word string) bool {
	again := p.zoned
	p.zoned = true
	if again || zones[word] {
		return !again
	}
	text := strings.ReplaceAll(word[1:], ":", "")
	if !digits(text, 4, 4) {
		return false
	}
	east, ok := hours(text[:2] + ":" + text[2:])
	if word[0] == '-' {
		east = -east
	}
	p.zone = east
	return ok
}

// name finds the month among the names: it stands behind the weekday, which is not looked at.
func (p *dateParts) name() bool {
	names := p.names
	switch {
	case p.month != 0:
		return len(names) <= 1
	case len(names) == 0 || len(names) > 2:
		return false
	}
	month := strings.TrimRight(names[len(names)-1], ".")
	for i, known := range months {
		if strings.Contains(known, " "+month+" ") {
			p.month = i + 1
			return true
		}
	}
	return false
}

// digits says whether word has least to most characters, all of them digits, dots, slashes or dashes.
func digits(word string, least, most int) bool {
	return len(word) >= least && len(word) <= most && strings.Trim(word, "0123456789-./") == ""
}

// cutUnit cuts one of the units off the front of word.
func cutUnit(word *string, units []string) bool {
	for _, unit := range units {
		if rest, ok := strings.CutPrefix(*word, unit); ok {
			*word = rest
			return true
		}
	}
	return false
}

// plainText gives UTF-8. What is none is taken as Latin-1, in which logs of
// Western Windows are written and which keeps the bytes of all others apart.
func plainText(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	runes := make([]rune, len(text))
	for i, c := range text {
		runes[i] = rune(c)
	}
	return string(runes)
}
