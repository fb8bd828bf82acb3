package principal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"telltale.dev/protocol/principal"
)

// named are principals with their URIs.
var named = map[string]principal.Principal{
	"urn:dev:k7:tcu-a": principal.OfDevice("k7", "tcu-a"),
	"urn:ops:anna":     principal.OfOperator("anna"),
	"urn:svc:weather":  {Kind: principal.Service, Name: "weather"},
}

func TestURI(t *testing.T) {
	for uri, want := range named {
		if got, err := principal.Parse(uri); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", uri, got, err, want)
		}
		if got := want.URI(); got != uri {
			t.Errorf("got %s, want %s", got, uri)
		}
	}
	for _, p := range []principal.Principal{{}, {Kind: principal.Local}, {Kind: 200, Name: "anna"}} {
		if got := p.URI(); got != "" {
			t.Errorf("%v: got %s, want none", p.Kind, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, uri := range []string{
		"", "urn:dev:k7", "urn:dev:k7:", "urn:dev::tcu", "urn:dev:k7:tcu:x", "URN:DEV:k7:tcu", "urn:dev:ops:tcu", "urn:dev:+:tcu",
		"urn:ops:", "urn:ops:a:b", "urn:ops:a/b", "urn:ops:ä", "urn:svc:", "urn:svc:#", "urn:local:", "https://example.com/",
		"urn:ops:" + strings.Repeat("x", 65), "urn:dev:k7:tcu?x=1", "urn:dev:k7:tcu#x", "urn:dev:k7%2F:tcu",
	} {
		got, err := principal.Parse(uri)
		if !errors.Is(err, principal.ErrName) || got != (principal.Principal{}) {
			t.Errorf("%q: got %+v, %v, want %v", uri, got, err, principal.ErrName)
		}
		if len(uri) > 12 && strings.Contains(fmt.Sprint(err), uri) {
			t.Errorf("%q: the error repeats it", uri)
		}
	}
}

func TestSame(t *testing.T) {
	old := principal.OfDevice("k7", "tcu")
	renewed := old
	renewed.Certificate = principal.Certificate{Fingerprint: [32]byte{1}, NotAfter: 7}
	if old == renewed || !old.Same(renewed) || !renewed.Same(old) {
		t.Error("a renewed certificate: want another value of the same holder")
	}
	for _, other := range []principal.Principal{{}, principal.OfDevice("k7", "ivi"), principal.OfDevice("k8", "tcu"), principal.OfOperator("k7")} {
		if old.Same(other) {
			t.Errorf("%+v is not the same as %+v", other, old)
		}
	}
}

// FuzzParse: what parses is one kind with its own fields only, and is written back as it was.
func FuzzParse(f *testing.F) {
	for uri := range named {
		f.Add(uri)
	}
	for _, bad := range []string{"urn:dev:v:d:e", "URN:DEV:v:d", "urn:dev:v%20:d", "urn:svc:ops", "urn:ops:dev:v", ""} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := principal.Parse(s)
		if err != nil {
			if p != (principal.Principal{}) {
				t.Errorf("%q: got %+v with an error", s, p)
			}
			return
		}
		if got := p.URI(); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
		device := p.Vehicle != "" && p.Device != "" && p.Name == ""
		if name := p.Vehicle == "" && p.Device == "" && p.Name != ""; device == name || device != (p.Kind == principal.Device) {
			t.Errorf("%+v is not of one kind", p)
		}
	})
}

func ExampleParse() {
	p, err := principal.Parse("urn:dev:k7q4:tcu-a")
	fmt.Println(p.Kind, p.Vehicle, p.Device, err)
	// Output: device k7q4 tcu-a <nil>
}
