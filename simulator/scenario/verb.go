package scenario

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Action does one thing.
type Action struct {
	After Duration // waits this long before
	Verb  Verb     // nil when the file names none, or several
}

// Verb is one kind of thing that a scenario can do. Its struct has the keys of the file.
type Verb interface {
	// check says what was expected instead.
	check(s *Scenario) error
	do(ctx context.Context, e *Engine) error
}

// verbs are all kinds of actions, by the key that names whom or what they are about.
var verbs = table[Verb]{
	{"drive", func() Verb { return new(Drive) }},
	{"link", func() Verb { return new(Link) }},
	{"power", func() Verb { return new(Power) }},
	{"broker", func() Verb { return new(Broker) }},
	{"push", func() Verb { return new(Push) }},
}

// Expect is something that must be true within a time.
type Expect struct {
	Within Duration
	That   Expectation // nil when the file names none, or several
}

// Expectation is one kind of thing that a scenario can expect. All but Delivery are
// conditions. Its struct has the keys of the file.
type Expectation interface {
	// check says what was expected instead.
	check(s *Scenario) error
	// what says in words what is expected.
	what() string
}

// condition is an expectation that can be looked at again and again while everything runs.
type condition interface {
	Expectation
	// holds gives nil when it is so, and else an error that says what is.
	holds(ctx context.Context, e *Engine) error
}

// pausing is a condition that comes true without frames on the buses: the drive waits for it.
type pausing interface{ pausesDrive() }

// expectations are all kinds of them, by the key that names whom or what they are about.
var expectations = table[Expectation]{
	{"presence", func() Expectation { return new(Presence) }},
	{"delivery", func() Expectation { return new(Delivery) }},
	{"state-of", func() Expectation { return new(StateOf) }},
	{"campaign", func() Expectation { return new(CampaignStatus) }},
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *Action) UnmarshalYAML(n *yaml.Node) (err error) {
	var common struct {
		After Duration `yaml:"after"`
	}
	a.Verb, err = verbs.decode(n, &common)
	a.After = common.After
	return err
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (x *Expect) UnmarshalYAML(n *yaml.Node) (err error) {
	var common struct {
		Within Duration `yaml:"within"`
	}
	x.That, err = expectations.decode(n, &common)
	x.Within = common.Within
	return err
}

// table lists kinds of things by the key that only they have.
type table[K any] []struct {
	key  string
	make func() K
}

// decode reads a mapping: what all kinds have into common, the rest into the kind whose
// key is there. It gives nil when no such key is there, or several.
func (t table[K]) decode(n *yaml.Node, common any) (kind K, err error) {
	var none K
	if err := n.Decode(common); err != nil {
		return none, err
	}
	found := 0
	for _, row := range t {
		if child(n, row.key) != nil {
			kind = row.make()
			found++
		}
	}
	if found != 1 {
		return none, nil
	}
	if err := onlyKeys(n, append(keys(common), keys(kind)...)); err != nil {
		return none, err
	}
	return kind, n.Decode(kind)
}

// onlyKeys refuses a mapping with a key that is not known, also in what it merges. The mapping has
// been decoded before, so that no alias leads back to it. (An Unmarshaler must look itself:
// yaml.Decoder.KnownFields ends where it begins.)
func onlyKeys(n *yaml.Node, known []string) error {
	switch n.Kind {
	case yaml.AliasNode:
		return onlyKeys(n.Alias, known)
	case yaml.SequenceNode: // of mappings that are merged
		for _, one := range n.Content {
			if err := onlyKeys(one, known); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.ShortTag() == "!!merge" {
			if err := onlyKeys(n.Content[i+1], known); err != nil {
				return err
			}
		} else if !slices.Contains(known, key.Value) {
			return fmt.Errorf("line %d: unknown field %.64s", key.Line, key.Value)
		}
	}
	return nil
}

// oneOf is the error about a mapping that names no kind, or several.
func (t table[K]) oneOf() error {
	var names []string
	for _, row := range t {
		names = append(names, row.key)
	}
	return errors.New("expected exactly one of " + strings.Join(names, ", "))
}

// keys are those that a pointer to a struct takes from a file.
func keys(of any) (list []string) {
	t := reflect.TypeOf(of).Elem()
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			list = append(list, key)
		}
	}
	return list
}
