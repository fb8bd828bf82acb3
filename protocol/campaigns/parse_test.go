package campaigns_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/document/documenttest"
)

const campaignYAML = `apiVersion: campaigns.v1
kind: Campaign
metadata: {id: tour, revision: 3}
spec:
  signals:
    speed: {path: can0.SPEED.SPEED}
    brake: {path: "*.BRAKE*.*"}
  collect:
    - {id: slow, every: 1s, signals: [speed]}
    - {id: moves, onChange: true, signals: [speed, brake]}
  priority: CS3
  encoding: {batch: {age: 5s, bytes: 32KiB}}
`

func TestParseCampaign(t *testing.T) {
	fromYAML, err := campaigns.Parse([]byte(campaignYAML))
	if err != nil {
		t.Fatal(err)
	}
	if got := fromYAML.Spec.Collect[1]; got.ID != "moves" || !got.OnChange || len(got.Signals) != 2 {
		t.Errorf("got rule %+v", got)
	}
	doc, err := document.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	fromCBOR, err := campaigns.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromCBOR, fromYAML) {
		t.Errorf("got %+v from CBOR, want %+v", fromCBOR, fromYAML)
	}
}

func TestParseCampaignRefuses(t *testing.T) {
	const head = "apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 1}\n"
	tests := []struct {
		name string
		doc  []byte
		want string
		is   error
	}{
		{"nothing", nil, "found nothing", document.ErrMalformed},
		{"unknown field", []byte(head + "spec:\n  collect:\n  - id: a\n    evry: 1s\n"), "line 7: field evry is not known", document.ErrMalformed},
		{"wrong type", []byte("kind: Campaign\nmetadata: {revision: one}\n"), "line 2: expected a whole number from 0", document.ErrMalformed},
		{"fraction as revision", []byte("kind: Campaign\nmetadata: {id: x, revision: 24.7}\n"), "line 2: metadata.revision: expected a whole number from 1, such as 24", document.ErrMalformed},
		{"whole fraction as revision", []byte("metadata:\n  revision: 24.0\n"), "line 2: metadata.revision", document.ErrMalformed},
		{"exponent as revision", []byte("a: &r 1e3\nmetadata: {revision: *r}\n"), "field a is not known", document.ErrMalformed},
		{"huge revision", []byte("metadata: {revision: 18446744073709551616}\n"), "metadata.revision", document.ErrMalformed},
		{"revision above the bound", []byte("apiVersion: campaigns.v1\nkind: Campaign\nmetadata:\n  id: x\n  revision: 9007199254740993\n"), "line 5: metadata.revision: expected a number from 1 to 9007199254740992", campaigns.ErrInvalid},
		{"highest number as revision", []byte("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 18446744073709551615}\n"), "metadata.revision: expected a number from 1 to 9007199254740992", campaigns.ErrInvalid},
		{"CBOR with a fraction", documenttest.Marshal(t, map[string]any{"metadata": map[string]any{"revision": 24.5}}), "field metadata", document.ErrMalformed},
		{"interval without a unit", []byte(head + "spec: {collect: [{id: a, every: 500}]}\n"), "such as 500ms", campaigns.ErrInvalid},
		{"age without a unit", []byte(head + "spec: {collect: [{id: a}], encoding: {batch: {age: 10}}}\n"), "such as 10s", campaigns.ErrInvalid},
		{"removal", []byte("apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: x, revision: 1}\n"), "kind: expected Campaign", campaigns.ErrInvalid},
		{"no list", []byte("spec: {collect: {}}\n"), "line 1: expected a list", document.ErrMalformed},
		{"key twice", []byte("kind: Campaign\nkind: Campaign\n"), `line 2: mapping key "kind" already defined`, document.ErrMalformed},
		{"two documents", []byte(head + "spec: {collect: [{id: a}]}\n---\n" + head), "expected one YAML document", document.ErrMalformed},
		{"bad interval", []byte(head + "spec: {collect: [{id: a, every: 1us}]}\n"), "spec.collect[0].every", campaigns.ErrInvalid},
		{"another kind", []byte("apiVersion: campaigns.v1\nkind: Policy\n"), "kind: expected Campaign", campaigns.ErrInvalid},
		{"too long", bytes.Repeat([]byte("#"), document.MaxInline+1), "expected at most 8192", document.ErrLimit},
		{"no text", []byte("\xFE\xFF\x00a"), "expected YAML text or a CBOR map", document.ErrMalformed},
		{"aliases", []byte("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n"), "line 1: field a is not known", document.ErrMalformed},
		{"CBOR with an unknown field", documenttest.Marshal(t, map[string]any{"spec": map[string]any{"collekt": 1}}), "field collekt is not known", document.ErrMalformed},
		{"CBOR of a wrong type", documenttest.Marshal(t, map[string]any{"kind": 3}), "field kind: positive integer does not fit", document.ErrMalformed},
		{"CBOR with bytes left over", append(documenttest.Marshal(t, campaigns.Everything()), 0), "left over", document.ErrMalformed},
		{"CBOR with a key twice", []byte("\xa2dkind\x61adkind\x61b"), "duplicate map key", document.ErrMalformed},
		{"CBOR without a length", []byte("\xbfdkind\x61a\xff"), "indefinite-length", document.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := campaigns.Parse(test.doc)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.is) {
				t.Errorf("got error %v, want %v with %q", err, test.is, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "protocol.") {
				t.Errorf("got a Go type in %v", err)
			}
			for _, noise := range []error{document.ErrMalformed, campaigns.ErrInvalid, document.ErrLimit} {
				if err != nil && strings.HasSuffix(err.Error(), ": "+noise.Error()) {
					t.Errorf("got %q, want it without %q", err, noise)
				}
			}
		})
	}
}

func TestParseCampaignChange(t *testing.T) {
	const removal = "apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: tour, revision: 4}\n"
	for _, doc := range [][]byte{[]byte(campaignYAML), []byte(removal),
		documenttest.Marshal(t, map[string]any{"apiVersion": "campaigns.v1", "kind": "Removal", "metadata": map[string]any{"id": "tour", "revision": 4}})} {
		if c, err := campaigns.ParseChange(doc); err != nil || c.Metadata.ID != "tour" || c.Metadata.Revision < 3 {
			t.Errorf("got %+v, %v", c, err)
		}
	}
	for doc, want := range map[string]string{
		removal + "spec: {collect: [{id: a}]}\n": "spec: expected none", removal + "spec: {priority: CS3}\n": "spec: expected none",
		removal + "colour: red\n": "colour", "kind: Removal\n": "apiVersion", "": "found nothing",
		"apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: tour}\n": "metadata.revision", "apiVersion: campaigns.v1\nkind: removal\n": "kind: expected Campaign",
	} {
		if _, err := campaigns.ParseChange([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", doc, err, want)
		}
	}
}

func TestCampaignRevision(t *testing.T) {
	for doc, want := range map[string]uint64{
		campaignYAML: 3, campaignYAML + "colour: red": 3, "metadata:\n  revision: 9\n bad": 9, `{"metadata":{"id":"x","revision":12}, oops`: 12,
		"metadata: {revision: 7}\nspec: [": 7, "metadata: {revision: 0x10}": 16, "metadata: {revision: 24.7}": 0, "metadata: {revision: -3}": 0, "": 0, "hello": 0,
		"# metadata\nrevision: 5\n": 5, "metadata: {revision: 6}\n" + strings.Repeat("#", 2*document.MaxInline): 6, "subrevision: 4": 0,
		string(documenttest.Marshal(t, map[string]any{"metadata": map[string]any{"revision": 8}, "x": 1})): 8, "\xa1amoney": 0,
		"metadata: {revision: 99999999999999999999}": 0,
	} {
		if got := campaigns.Revision([]byte(doc)); got != want {
			t.Errorf("%.60q: got %d, want %d", doc, got, want)
		}
	}
}

// FuzzCampaign: what is accepted can be written as CBOR and means the same when it is read again.
func FuzzCampaign(f *testing.F) {
	f.Add([]byte(campaignYAML))
	f.Add(documenttest.Marshal(f, campaigns.Everything()))
	f.Add([]byte("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 1}\nspec: {collect: [{id: a}], signals: {}}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := campaigns.Parse(doc)
		if err != nil {
			return
		}
		first := documenttest.Marshal(t, c)
		again, err := campaigns.Parse(first)
		if err != nil {
			if errors.Is(err, document.ErrLimit) {
				t.Skip("longer as CBOR")
			}
			t.Fatalf("got %v for the CBOR of an accepted campaign", err)
		}
		if second := documenttest.Marshal(t, again); !bytes.Equal(first, second) {
			t.Errorf("got %x, want %x", second, first)
		}
	})
}
