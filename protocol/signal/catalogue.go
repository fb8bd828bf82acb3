package signal

import (
	"fmt"
	"slices"
)

// Kind says what brings a signal's values. Readers take kinds that they do not know: name, unit and number are
// the same for all. Append-only, since schema documents hold them.
type Kind string

// The kinds.
const (
	CAN         Kind = "can"         // frames of a bus; the empty Kind means it too
	GNSS        Kind = "gnss"        // a receiver of satellite navigation
	Workload    Kind = "workload"    // a program on the vehicle
	Diagnostics Kind = "diagnostics" // answers of a control unit to requests
)

// Source is one bus, receiver, program or control unit.
type Source struct {
	Kind  Kind
	Name  string     // such as can0; no two sources of a catalogue have the same
	Files [][32]byte // SHA-256 of the files that describe its signals, such as DBC files
}

// Message is a named set of signals of one source. Not all of them need to arrive together.
type Message struct {
	Source int // position in Catalogue.Sources
	Name   string
	// Signals First to First+Count−1 of Catalogue.Signals are the message's.
	First, Count int
}

// Group is one exact set of signals that arrive together: one row has a raw value for each, and one time.
type Group struct {
	Message int // position in Catalogue.Messages
	// Short: what brought the row ended before all signals that were announced, as a truncated frame does.
	Short   bool
	Signals []int32 // positions in Catalogue.Signals, in the order of the raw values
}

// Catalogue lists all signals of a vehicle. It is not changed once it is made, and may be used by many goroutines.
type Catalogue struct {
	Sources  []Source
	Messages []Message
	Signals  []Signal
	Groups   []Group
}

// Join makes one catalogue of several, whose entries follow each other in the given order: the first group of a part
// has the number of groups in the parts before it. It is an error when two sources have one name.
func Join(parts ...*Catalogue) (*Catalogue, error) {
	all := &Catalogue{}
	for _, part := range parts {
		sources, messages, signals := len(all.Sources), len(all.Messages), len(all.Signals)
		for _, s := range part.Sources {
			if slices.ContainsFunc(all.Sources, func(o Source) bool { return o.Name == s.Name }) {
				return nil, fmt.Errorf("source %s: expected a name that no other source has", s.Name)
			}
			all.Sources = append(all.Sources, s)
		}
		for _, m := range part.Messages {
			m.Source += sources
			m.First += signals
			all.Messages = append(all.Messages, m)
		}
		all.Signals = append(all.Signals, part.Signals...)
		for _, g := range part.Groups {
			g.Message += messages
			g.Signals = slices.Clone(g.Signals)
			for i := range g.Signals {
				g.Signals[i] += int32(signals)
			}
			all.Groups = append(all.Groups, g)
		}
	}
	return all, nil
}

// SourceOf gives the position of the source that a group's rows come from.
func (c *Catalogue) SourceOf(group int) int { return c.Messages[c.Groups[group].Message].Source }

// MessageOf gives the name of a group's message.
func (c *Catalogue) MessageOf(group int) string { return c.Messages[c.Groups[group].Message].Name }

// Files gives the hashes of the files of all sources, in the order of the sources.
func (c *Catalogue) Files() (files [][32]byte) {
	for i := range c.Sources {
		files = append(files, c.Sources[i].Files...)
	}
	return files
}
