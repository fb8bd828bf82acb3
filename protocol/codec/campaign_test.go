package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"telltale.dev/protocol"
	"telltale.dev/protocol/codec"
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
	fromYAML, err := codec.ParseCampaign([]byte(campaignYAML))
	if err != nil {
		t.Fatal(err)
	}
	if got := fromYAML.Spec.Collect[1]; got.ID != "moves" || !got.OnChange || len(got.Signals) != 2 {
		t.Errorf("got rule %+v", got)
	}
	doc, err := codec.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	fromCBOR, err := codec.ParseCampaign(doc)
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
		{"nothing", nil, "found nothing", codec.ErrMalformed},
		{"unknown field", []byte(head + "spec:\n  collect:\n  - id: a\n    evry: 1s\n"), "line 7: field evry is not known", codec.ErrMalformed},
		{"wrong type", []byte("kind: Campaign\nmetadata: {revision: one}\n"), "line 2: expected a whole number from 0", codec.ErrMalformed},
		{"fraction as revision", []byte("kind: Campaign\nmetadata: {id: x, revision: 24.7}\n"), "line 2: metadata.revision: expected a whole number from 1, such as 24", codec.ErrMalformed},
		{"whole fraction as revision", []byte("metadata:\n  revision: 24.0\n"), "line 2: metadata.revision", codec.ErrMalformed},
		{"exponent as revision", []byte("a: &r 1e3\nmetadata: {revision: *r}\n"), "field a is not known", codec.ErrMalformed},
		{"huge revision", []byte("metadata: {revision: 18446744073709551616}\n"), "metadata.revision", codec.ErrMalformed},
		{"CBOR with a fraction", cborOf(t, map[string]any{"metadata": map[string]any{"revision": 24.5}}), "field metadata", codec.ErrMalformed},
		{"interval without a unit", []byte(head + "spec: {collect: [{id: a, every: 500}]}\n"), "such as 500ms", protocol.ErrCampaign},
		{"age without a unit", []byte(head + "spec: {collect: [{id: a}], encoding: {batch: {age: 10}}}\n"), "such as 10s", protocol.ErrCampaign},
		{"removal", []byte("apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: x, revision: 1}\n"), "kind: expected Campaign", protocol.ErrCampaign},
		{"no list", []byte("spec: {collect: {}}\n"), "line 1: expected a list", codec.ErrMalformed},
		{"key twice", []byte("kind: Campaign\nkind: Campaign\n"), `line 2: mapping key "kind" already defined`, codec.ErrMalformed},
		{"two documents", []byte(head + "spec: {collect: [{id: a}]}\n---\n" + head), "expected one YAML document", codec.ErrMalformed},
		{"bad interval", []byte(head + "spec: {collect: [{id: a, every: 1us}]}\n"), "spec.collect[0].every", protocol.ErrCampaign},
		{"another kind", []byte("apiVersion: campaigns.v1\nkind: Policy\n"), "kind: expected Campaign", protocol.ErrCampaign},
		{"too long", bytes.Repeat([]byte("#"), protocol.MaxDocument+1), "expected at most 8192", codec.ErrLimit},
		{"no text", []byte("\xFE\xFF\x00a"), "expected YAML text or a CBOR map", codec.ErrMalformed},
		{"aliases", []byte("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n"), "line 1: field a is not known", codec.ErrMalformed},
		{"CBOR with an unknown field", cborOf(t, map[string]any{"spec": map[string]any{"collekt": 1}}), "field collekt is not known", codec.ErrMalformed},
		{"CBOR of a wrong type", cborOf(t, map[string]any{"kind": 3}), "field kind: positive integer does not fit", codec.ErrMalformed},
		{"CBOR with bytes left over", append(cborOf(t, protocol.Everything()), 0), "left over", codec.ErrMalformed},
		{"CBOR with a key twice", []byte("\xa2dkind\x61adkind\x61b"), "duplicate map key", codec.ErrMalformed},
		{"CBOR without a length", []byte("\xbfdkind\x61a\xff"), "indefinite-length", codec.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := codec.ParseCampaign(test.doc)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.is) {
				t.Errorf("got error %v, want %v with %q", err, test.is, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "protocol.") {
				t.Errorf("got a Go type in %v", err)
			}
			for _, noise := range []error{codec.ErrMalformed, protocol.ErrCampaign, codec.ErrLimit} {
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
		cborOf(t, map[string]any{"apiVersion": "campaigns.v1", "kind": "Removal", "metadata": map[string]any{"id": "tour", "revision": 4}})} {
		if c, err := codec.ParseCampaignChange(doc); err != nil || c.Metadata.ID != "tour" || c.Metadata.Revision < 3 {
			t.Errorf("got %+v, %v", c, err)
		}
	}
	for doc, want := range map[string]string{
		removal + "spec: {collect: [{id: a}]}\n": "spec: expected none", removal + "spec: {priority: CS3}\n": "spec: expected none",
		removal + "colour: red\n": "colour", "kind: Removal\n": "apiVersion", "": "found nothing",
		"apiVersion: campaigns.v1\nkind: Removal\nmetadata: {id: tour}\n": "metadata.revision", "apiVersion: campaigns.v1\nkind: removal\n": "kind: expected Campaign",
	} {
		if _, err := codec.ParseCampaignChange([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", doc, err, want)
		}
	}
}

func TestCampaignRevision(t *testing.T) {
	for doc, want := range map[string]uint64{
		campaignYAML: 3, campaignYAML + "colour: red": 3, "metadata:\n  revision: 9\n bad": 9, `{"metadata":{"id":"x","revision":12}, oops`: 12,
		"metadata: {revision: 7}\nspec: [": 7, "metadata: {revision: 0x10}": 16, "metadata: {revision: 24.7}": 0, "metadata: {revision: -3}": 0, "": 0, "hello": 0,
		"# metadata\nrevision: 5\n": 5, "metadata: {revision: 6}\n" + strings.Repeat("#", 2*protocol.MaxDocument): 6, "subrevision: 4": 0,
		string(cborOf(t, map[string]any{"metadata": map[string]any{"revision": 8}, "x": 1})): 8, "\xa1amoney": 0,
		"metadata: {revision: 99999999999999999999}": 0,
	} {
		if got := codec.CampaignRevision([]byte(doc)); got != want {
			t.Errorf("%.60q: got %d, want %d", doc, got, want)
		}
	}
}

func cborOf(t testing.TB, v any) []byte {
	t.Helper()
	doc, err := codec.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// FuzzCampaign: what is accepted can be written as CBOR and means the same when it is read again.
func FuzzCampaign(f *testing.F) {
	f.Add([]byte(campaignYAML))
	f.Add(cborOf(f, protocol.Everything()))
	f.Add([]byte("apiVersion: campaigns.v1\nkind: Campaign\nmetadata: {id: x, revision: 1}\nspec: {collect: [{id: a}], signals: {}}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := codec.ParseCampaign(doc)
		if err != nil {
			return
		}
		first := cborOf(t, c)
		again, err := codec.ParseCampaign(first)
		if err != nil {
			if errors.Is(err, codec.ErrLimit) {
				t.Skip("longer as CBOR")
			}
			t.Fatalf("got %v for the CBOR of an accepted campaign", err)
		}
		if second := cborOf(t, again); !bytes.Equal(first, second) {
			t.Errorf("got %x, want %x", second, first)
		}
	})
}
