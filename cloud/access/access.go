// Package access says who may do what: for a principal, a verb and what it is done on (a topic, a
// filter, a route) it gives the rule that decides. The rules are one table, in table.go; what no
// rule allows is refused.
//
// It is a pure function of its arguments and of the table: no I/O, no clock, no state. What changes
// with time, such as a suspended vehicle, is asked elsewhere, before or after. It says nothing about
// whether a topic or filter is well formed either; the broker knows the standard.
package access

import (
	"strings"

	"telltale.dev/protocol/principal"
)

// Verb is what a principal wants to do. A rule may hold several.
type Verb uint16

// The verbs, with what they are done on.
const (
	Connect   Verb = 1 << iota // an MQTT client identifier
	Will                       // the topic of a last will
	Publish                    // a topic
	Reply                      // the topic to which an answer shall be sent (MQTT 5, 4.10)
	Subscribe                  // a topic filter
	Deliver                    // the topic of a message for somebody whose filter covers it
	Download                   // the path of a file on the download server
	Read                       // the path of an API route that changes nothing
	Change                     // the path of an API route that changes something
)

// Answer is what a rule says.
type Answer uint8

// The answers. The zero Answer refuses.
const (
	Refuse Answer = iota
	Allow
	// Unread refuses a publish that its sender may send but that nobody would read: an
	// acknowledgement would be a promise that nobody keeps.
	Unread
)

// Rule is one row of the table.
type Rule struct {
	Who principal.Kind
	May Verb
	// On is a pattern: level by level the same, + for any one level, and # at the end for any
	// further ones or none. {vid}, {did} and {name} are the principal's own, never a wildcard of a filter.
	On     string
	Answer Answer
	// Why is for people: of an allowed publish who reads it, of a refusal the reason, which the
	// client is told. At most 256 bytes, and nothing of what was asked.
	Why string
}

// Allowed says whether the rule allows.
func (r *Rule) Allowed() bool { return r.Answer == Allow }

// Reason is what a client is told of a refusal; empty when there is none.
func (r *Rule) Reason() string {
	if r.Allowed() {
		return ""
	}
	return r.Why
}

// nothing is the rule for what no other rule is about.
var nothing = Rule{Why: "not for this client"}

// Decide gives the first rule of the table that is about p, verb and object, never nil. The verb is
// exactly one. It allocates nothing.
func Decide(p principal.Principal, verb Verb, object string) *Rule {
	if int(p.Kind) >= len(table) || verb&(Will|Publish|Reply|Deliver) != 0 && wild(object) || verb&Subscribe != 0 && malformed(object) {
		return &nothing
	}
	rules := table[p.Kind]
	for i := range rules {
		if rules[i].May&verb != 0 && covers(rules[i].On, object, &p) {
			return &rules[i]
		}
	}
	return &nothing
}

// wild says whether a topic holds what only filters may, or NUL [MQTT-3.3.2-2].
func wild(topic string) bool {
	return strings.IndexByte(topic, '+') >= 0 || strings.IndexByte(topic, '#') >= 0 || strings.IndexByte(topic, 0) >= 0
}

// malformed says whether a filter has a wildcard that is no level of its own, a # that is not the last level, or NUL
// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-2].
func malformed(filter string) bool {
	for i := range len(filter) {
		c := filter[i]
		if c == 0 || (c == '+' || c == '#') && (i > 0 && filter[i-1] != '/' || i+1 < len(filter) && (c == '#' || filter[i+1] != '/')) {
			return true
		}
	}
	return false
}

// covers says whether pattern covers a topic, path or client identifier, or all that a filter does.
func covers(pattern, object string, p *principal.Principal) bool {
	for {
		want, patternLeft, morePattern := strings.Cut(pattern, "/")
		if want == "#" {
			return true
		}
		level, objectLeft, moreObject := strings.Cut(object, "/")
		if !fits(want, level, p) {
			return false
		}
		switch {
		case !moreObject:
			return !morePattern || patternLeft == "#"
		case !morePattern:
			return false
		}
		pattern, object = patternLeft, objectLeft
	}
}

// fits says whether one level of a pattern covers one of a topic or filter.
func fits(want, level string, p *principal.Principal) bool {
	switch want {
	case "+":
		return level != "#"
	case "{vid}":
		return level == string(p.Vehicle) && level != ""
	case "{did}":
		return level == string(p.Device) && level != ""
	case "{name}":
		return level == p.Name && level != ""
	}
	return level == want
}
