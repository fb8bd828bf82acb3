package campaigns

import (
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// invalidError is an error about a field that wraps ErrInvalid without saying it: its text goes
// to operators, who know that it is their campaign.
type invalidError struct {
	line     int    // of the field in a YAML document, or of the nearest one around it; 0: not known
	field    string // such as spec.collect[0].id
	expected string
}

func invalid(field, expected string) error { return &invalidError{field: field, expected: expected} }

func (e *invalidError) Error() string {
	text := e.field + ": " + e.expected
	if e.line > 0 {
		text = "line " + strconv.Itoa(e.line) + ": " + text
	}
	return text
}

func (e *invalidError) Unwrap() error { return ErrInvalid }

// locate adds to an error about a field of a YAML document in which line the field is.
func locate(doc []byte, err error) error {
	var about *invalidError
	var root yaml.Node
	if !errors.As(err, &about) || isCBORMap(doc) || yaml.Unmarshal(doc, &root) != nil || len(root.Content) == 0 {
		return err
	}
	placed := *about
	placed.line = lineOf(root.Content[0], about.field)
	return &placed
}

// lineOf follows a field's path, and ends at the last part of it that the document has.
func lineOf(at *yaml.Node, path string) (line int) {
	for at != nil && path != "" {
		at, path = step(at, path)
		if at != nil {
			line = at.Line
		}
	}
	return line
}

// step gives the value of the key or index that a path begins with, and the rest of the path;
// nil when there is none. A key may have dots of its own.
func step(at *yaml.Node, path string) (next *yaml.Node, rest string) {
	if at.Kind == yaml.AliasNode {
		at = at.Alias
	}
	switch at.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(at.Content); i += 2 {
			rest, ok := strings.CutPrefix(path, at.Content[i].Value)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return at.Content[i+1], strings.TrimPrefix(rest, ".")
			}
		}
	case yaml.SequenceNode:
		index, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if i, err := strconv.Atoi(index); ok && err == nil && i < len(at.Content) {
			return at.Content[i], strings.TrimPrefix(rest, ".")
		}
	}
	return nil, ""
}
