package campaigns

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// invalidError is an error about a field that wraps ErrInvalid without saying it: its text goes
// to operators, who know that it is their campaign.
type invalidError struct {
	position        // of the field in a YAML document, or of the nearest one around it
	field    string // such as spec.collect[0].id
	expected string
}

// position is a place in a YAML document. Line and column count from 1; 0: not known.
type position struct{ line, column int }

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
	placed.position = positionOf(root.Content[0], about.field)
	return &placed
}

// positionOf follows a field's path, and ends at the last part of it that the document has.
func positionOf(at *yaml.Node, path string) (found position) {
	for at != nil && path != "" {
		at, path = step(at, path)
		if at != nil {
			found = position{at.Line, at.Column}
		}
	}
	return found
}

// Field says where a field is in a YAML document, such as spec.collect[0].every, or the nearest one around it. Line and column
// count from 1; both are 0 when it is not known, as in CBOR.
func Field(doc []byte, path string) (line, column int) {
	var root yaml.Node
	if isCBORMap(doc) || yaml.Unmarshal(doc, &root) != nil || len(root.Content) == 0 {
		return 0, 0
	}
	found := positionOf(root.Content[0], path)
	return found.line, found.column
}

// Place says where in a YAML document an error of Parse or ParseChange is, and what it says without the line. Line and
// column count from 1; both are 0 when the place is not known.
func Place(err error) (line, column int, text string) {
	var about *invalidError
	var failed *documentError
	switch {
	case errors.As(err, &about):
		return about.line, about.column, about.field + ": " + about.expected
	case errors.As(err, &failed):
		text, found := strings.TrimPrefix(failed.text, "campaign: "), failed.position
		if found.line > 0 {
			text = strings.TrimPrefix(text, "line "+strconv.Itoa(found.line)+": ")
		}
		return found.line, found.column, text
	}
	return 0, 0, err.Error()
}

// yamlLine and yamlWords are how the yaml package says where a complaint is, and about what.
var (
	yamlLine  = regexp.MustCompile(`line (\d+): `)
	yamlWords = regexp.MustCompile("`([^`]*?)(?:\\.\\.\\.)?`|field (\\S+) not found")
)

// complained finds the place of the yaml package's first complaint: it names the line, and the text that it is about.
func complained(doc []byte, err error) (found position) {
	said := err.Error()
	var list *yaml.TypeError
	if errors.As(err, &list) && len(list.Errors) > 0 {
		said = list.Errors[0]
	}
	m := yamlLine.FindStringSubmatch(said)
	if m == nil {
		return position{}
	}
	found.line, _ = strconv.Atoi(m[1])
	lines := bytes.Split(doc, []byte{'\n'})
	if found.line < 1 || found.line > len(lines) {
		return position{}
	}
	text := lines[found.line-1]
	found.column = len(text) - len(bytes.TrimLeft(text, " \t-")) + 1
	words := yamlWords.FindStringSubmatch(said)
	var root yaml.Node
	if words == nil || yaml.Unmarshal(doc, &root) != nil {
		return found
	}
	if at := wordAt(&root, found.line, words[1]+words[2]); at > 0 {
		found.column = at
	}
	return found
}

// wordAt gives the column of the first scalar of a line that begins with a word, 0 when there is none.
func wordAt(at *yaml.Node, line int, word string) (column int) {
	if at.Kind == yaml.ScalarNode && at.Line == line && strings.HasPrefix(at.Value, word) {
		return at.Column
	}
	for _, inner := range at.Content {
		if column := wordAt(inner, line, word); column > 0 {
			return column
		}
	}
	return 0
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
