package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

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

func campaignCBOR(doc []byte, c *protocol.Campaign) error { return Unmarshal(doc, c) }

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

// goType is how the yaml package names a type of ours; a reader of the document does not know it.
var goType = regexp.MustCompile(` (?:in type|into) \*?[a-z]+\.?[A-Za-z]*$`)

// plainYAML gives the first complaint of the yaml package, line first, without names of Go types.
func plainYAML(err error) string {
	var list *yaml.TypeError
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &list) && len(list.Errors) > 0 {
		text = list.Errors[0]
	}
	text = goType.ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "cannot unmarshal ", "did not expect ")
	return strings.ReplaceAll(text, "not found", "is not known")
}
