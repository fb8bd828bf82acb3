package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"go.yaml.in/yaml/v3"

	"telltale.dev/protocol"
)

// ParseCampaign reads a campaign document of at most protocol.MaxDocument
// bytes, YAML or CBOR, told by its first byte: a CBOR map begins with a byte
// that UTF-8 text never begins with. Unknown and duplicate fields are refused,
// and what was read is validated. The error wraps protocol.ErrCampaign,
// ErrMalformed or ErrLimit, and names the line (YAML) or field.
func ParseCampaign(doc []byte) (*protocol.Campaign, error) {
	if len(doc) > protocol.MaxDocument {
		return nil, fmt.Errorf("campaign of %d bytes, expected at most %d: %w", len(doc), protocol.MaxDocument, ErrLimit)
	}
	c := new(protocol.Campaign)
	read := campaignYAML
	if len(doc) > 0 && doc[0]>>5 == majorMap {
		read = campaignCBOR
	}
	if err := read(doc, c); err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	return c, nil
}

func campaignCBOR(doc []byte, c *protocol.Campaign) error {
	err := Unmarshal(doc, c)
	var unknown *cbor.UnknownFieldError
	if !errors.As(err, &unknown) {
		return err
	}
	// The cbor package knows the position only; the yaml package names the field.
	var fields any
	if Unmarshal(doc, &fields) != nil {
		return err
	}
	text, yamlErr := yaml.Marshal(fields)
	if yamlErr != nil {
		return err
	}
	if named := campaignYAML(text, new(protocol.Campaign)); named != nil {
		_, after, _ := strings.Cut(named.Error(), ": ") // without the line
		return fmt.Errorf("%s: %w", strings.TrimSuffix(after, ": "+ErrMalformed.Error()), ErrMalformed)
	}
	return err
}

func campaignYAML(doc []byte, c *protocol.Campaign) error {
	if !utf8.Valid(doc) || bytes.IndexByte(doc, 0) >= 0 {
		return malformed("document", "expected YAML text or a CBOR map")
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		if errors.Is(err, io.EOF) {
			return malformed("document", "expected a campaign, found nothing")
		}
		return fmt.Errorf("%s: %w", plainYAML(err), ErrMalformed)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return malformed("document", "expected one YAML document")
	}
	return nil
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
