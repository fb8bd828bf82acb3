package campaigns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"go.yaml.in/yaml/v3"

	"telltale.dev/protocol/document"
)

// Parse reads a campaign document of at most document.MaxInline
// bytes, YAML or CBOR, told by its first byte: a CBOR map begins with a byte
// that UTF-8 text never begins with. Unknown and duplicate fields are refused,
// and what was read is validated. The error wraps ErrInvalid,
// document.ErrMalformed or document.ErrLimit, and names the line (YAML) and field.
func Parse(doc []byte) (*Campaign, error) {
	c, err := readCampaign(doc)
	if err != nil {
		return nil, err
	}
	if err := c.check(c.Validate); err != nil {
		return nil, fmt.Errorf("campaign: %w", locate(doc, err))
	}
	return c, nil
}

// MaxRevision is the highest revision of a document that is pushed: JSON can say it exactly (RFC 8259 section 6),
// and there is always a higher one for the removal. Validate does not know this bound, so that documents that were
// stored before it was there can still be read and run.
const MaxRevision = 1 << 53

// check is validate with the bounds that hold for new documents alone.
func (c *Campaign) check(validate func() error) error {
	if c.Metadata.Revision > MaxRevision {
		return invalid("metadata.revision", fmt.Sprintf("expected a number from 1 to %d", uint64(MaxRevision)))
	}
	return validate()
}

// ParseChange reads what fleet operations publish: a campaign like
// Parse, or a removal, which has KindRemoval.
func ParseChange(doc []byte) (*Campaign, error) {
	c, err := readCampaign(doc)
	if err != nil {
		return nil, err
	}
	validate := c.Validate
	if c.Kind == KindRemoval {
		validate = c.ValidateRemoval
	}
	if err := c.check(validate); err != nil {
		return nil, fmt.Errorf("campaign: %w", locate(doc, err))
	}
	return c, nil
}

// readCampaign reads without validating.
func readCampaign(doc []byte) (*Campaign, error) {
	if len(doc) > document.MaxInline {
		return nil, &documentError{text: fmt.Sprintf("campaign of %d bytes, expected at most %d", len(doc), document.MaxInline), is: document.ErrLimit}
	}
	c := new(Campaign)
	read := campaignYAML
	if isCBORMap(doc) {
		read = campaignCBOR
	}
	if err := read(doc, c); err != nil {
		failed := &documentError{text: "campaign: " + strings.TrimSuffix(err.Error(), ": "+document.ErrMalformed.Error()), is: document.ErrMalformed}
		var read *yamlError
		if errors.As(err, &read) {
			failed.position = read.position
		}
		return nil, failed
	}
	return c, nil
}

func isCBORMap(doc []byte) bool { return len(doc) > 0 && doc[0]>>5 == 5 } // RFC 8949 section 3.1

// documentError is an error whose text does not repeat what it wraps: it goes to
// operators, who need the line or the field.
type documentError struct {
	text string
	is   error
	position
}

// yamlError is what is wrong with YAML text, at a place in it.
type yamlError struct {
	error
	position
}

func (e *yamlError) Unwrap() error { return e.error }

func (e *documentError) Error() string { return e.text }

func (e *documentError) Unwrap() error { return e.is }

// writtenRevision finds a revision in text that is no good YAML.
var writtenRevision = regexp.MustCompile(`(?:^|[\s{,"'])revision["']?\s*:\s*([0-9]{1,19})(?:[\s,}#]|$)`)

// Revision gives the revision of a document that Parse may refuse, as
// far as it can be read in its first document.MaxInline bytes; 0 when it cannot. It
// is for the answer to who pushed the document, never for a decision.
func Revision(doc []byte) uint64 {
	doc = doc[:min(len(doc), document.MaxInline)]
	if isCBORMap(doc) {
		var fields struct {
			Metadata struct {
				Revision uint64 `cbor:"revision"`
			} `cbor:"metadata"`
		}
		if cbor.Unmarshal(doc, &fields) != nil {
			return 0
		}
		return fields.Metadata.Revision
	}
	if node, err := revisionNode(doc); err == nil && node.ShortTag() == intTag {
		var revision uint64
		if node.Decode(&revision) == nil {
			return revision
		}
	}
	found := writtenRevision.FindSubmatch(doc)
	if found == nil {
		return 0
	}
	revision, _ := strconv.ParseUint(string(found[1]), 10, 64) // 19 digits fit
	return revision
}

// intTag is the tag of whole numbers in YAML.
const intTag = "!!int"

// revisionNode gives metadata.revision of a YAML document as it is written.
func revisionNode(doc []byte) (*yaml.Node, error) {
	var fields struct {
		Metadata struct{ Revision yaml.Node }
	}
	err := yaml.Unmarshal(doc, &fields)
	node := &fields.Metadata.Revision
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node, err
}

func campaignCBOR(doc []byte, c *Campaign) error {
	err := document.Unmarshal(doc, c)
	var unknown *cbor.UnknownFieldError
	if !errors.As(err, &unknown) {
		return err
	}
	// The cbor package knows the position only; the yaml package names the field.
	var fields any
	if document.Unmarshal(doc, &fields) != nil {
		return err
	}
	text, yamlErr := yaml.Marshal(fields)
	if yamlErr != nil {
		return err
	}
	if named := campaignYAML(text, new(Campaign)); named != nil {
		_, after, _ := strings.Cut(named.Error(), ": ") // without the line
		return fmt.Errorf("%s: %w", strings.TrimSuffix(after, ": "+document.ErrMalformed.Error()), document.ErrMalformed)
	}
	return err
}

func campaignYAML(doc []byte, c *Campaign) error {
	if !utf8.Valid(doc) || bytes.IndexByte(doc, 0) >= 0 {
		return malformed("document", "expected YAML text or a CBOR map")
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		if errors.Is(err, io.EOF) {
			return malformed("document", "expected a campaign, found nothing")
		}
		return &yamlError{fmt.Errorf("%s: %w", plainYAML(err), document.ErrMalformed), complained(doc, err)}
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return malformed("document", "expected one YAML document")
	}
	// The yaml package takes 24.7 for 24.
	if node, err := revisionNode(doc); err == nil && node.Kind != 0 && node.ShortTag() != intTag {
		wrong := malformed("line "+strconv.Itoa(node.Line)+": metadata.revision", "expected a whole number from 1, such as 24")
		return &yamlError{wrong, position{node.Line, node.Column}}
	}
	return nil
}

func malformed(place, expected string) error {
	return fmt.Errorf("%s: %s: %w", place, expected, document.ErrMalformed)
}

// mismatch and unknownField are how the yaml package speaks of Go types, which a reader of the document does not know.
var (
	mismatch     = regexp.MustCompile(`cannot unmarshal .* into (\S+)$`)
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+$`)
)

// plainYAML gives the first complaint of the yaml package, line first, without names of Go types.
func plainYAML(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var list *yaml.TypeError
	if errors.As(err, &list) && len(list.Errors) > 0 {
		text = list.Errors[0]
	}
	if m := mismatch.FindStringSubmatchIndex(text); m != nil {
		return text[:m[0]] + "expected " + kindOf(text[m[2]:m[3]])
	}
	return unknownField.ReplaceAllString(text, "field $1 is not known")
}

// kindOf says in words what a field of a Go type takes.
func kindOf(goType string) string {
	switch {
	case strings.HasPrefix(goType, "uint"):
		return "a whole number from 0"
	case goType == "bool":
		return "true or false"
	case goType == "string", strings.HasSuffix(goType, "ID"):
		return "text"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "fields"
}
