package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/protocol"
)

func TestIDs(t *testing.T) {
	parsers := map[string]func(string) (string, error){
		"vehicle":  func(s string) (string, error) { id, err := protocol.ParseVehicleID(s); return string(id), err },
		"device":   func(s string) (string, error) { id, err := protocol.ParseDeviceID(s); return string(id), err },
		"campaign": func(s string) (string, error) { id, err := protocol.ParseCampaignID(s); return string(id), err },
	}
	for _, c := range []struct {
		id string
		ok bool
	}{
		{"a", true}, {"A", true}, {"0", true}, {"k7q4", true}, {"a-b_c", true}, {strings.Repeat("x", 64), true},
		{"", false}, {strings.Repeat("x", 65), false}, {"-a", false}, {"_a", false}, {"a.b", false}, {"a b", false},
		{"a/b", false}, {"a+", false}, {"#", false}, {"é", false}, {"a\n", false}, {"a:b", false}, {"a\x00", false},
	} {
		for what, parse := range parsers {
			got, err := parse(c.id)
			if c.ok && (err != nil || got != c.id) {
				t.Errorf("%s %q: got %q, %v, want it back", what, c.id, got, err)
			}
			if !c.ok && !errors.Is(err, protocol.ErrID) {
				t.Errorf("%s %q: got %v, want %v", what, c.id, err, protocol.ErrID)
			}
			if err != nil && c.id != "" && strings.Contains(err.Error(), c.id) && len(c.id) > 1 {
				t.Errorf("%s: error %q repeats the identifier", what, err)
			}
		}
	}
	for _, word := range []string{"ops", "bcast", "app", "infra"} {
		if _, err := protocol.ParseVehicleID(word); !errors.Is(err, protocol.ErrID) {
			t.Errorf("vehicle %s: got %v, want a reserved word refused", word, err)
		}
		if _, err := protocol.ParseDeviceID(word); err != nil {
			t.Errorf("device %s: got %v, want it taken", word, err)
		}
	}
}

func TestBootID(t *testing.T) {
	boot := protocol.BootID{0, 1, 0xab, 0xcd, 0xef, 5, 6, 7}
	if got := boot.String(); got != "0001abcdef050607" {
		t.Errorf("got %s", got)
	}
	text, err := boot.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back protocol.BootID
	if err := back.UnmarshalText(text); err != nil || back != boot {
		t.Errorf("got %v, %v, want %v", back, err, boot)
	}
	for _, bad := range []string{"", "00", "0001ABCDEF050607", "0001abcdef05060g", "0001abcdef05060700", " 001abcdef050607"} {
		if got, err := protocol.ParseBootID(bad); !errors.Is(err, protocol.ErrID) || got != (protocol.BootID{}) {
			t.Errorf("%q: got %v, %v, want %v", bad, got, err, protocol.ErrID)
		}
	}
}

func TestSchemaHash(t *testing.T) {
	h := protocol.SchemaHash{0xfe, 0xdc, 2: 1, 31: 9}
	back, err := protocol.ParseSchemaHash(h.String())
	if err != nil || back != h || len(h.String()) != 64 {
		t.Errorf("got %v, %v, want %v", back, err, h)
	}
	if got := h.ID().String(); got != h.String()[:16] {
		t.Errorf("got %s, want the first 16 digits of %s", got, h)
	}
	if _, err := protocol.ParseSchemaHash(h.String()[1:]); !errors.Is(err, protocol.ErrID) {
		t.Errorf("got %v, want %v", err, protocol.ErrID)
	}
}

func TestMessageID(t *testing.T) {
	id := protocol.MessageID{Device: "tcu-a", Boot: protocol.BootID{1}, Seq: 90211}
	if got := id.String(); got != "tcu-a.0100000000000000.90211" {
		t.Errorf("got %s", got)
	}
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{id.String(), true},
		{"t.0100000000000000.18446744073709551615", true},
		{"t.0100000000000000.0", false}, {"t.0100000000000000.01", false}, {"t.0100000000000000.+1", false},
		{"t.0100000000000000.18446744073709551616", false}, {"t.0100000000000000.", false}, {"t.0100000000000000", false},
		{"t.01.1", false}, {".0100000000000000.1", false}, {"t.0100000000000000.1.2", false}, {"", false},
	} {
		got, err := protocol.ParseMessageID(c.text)
		if c.ok && (err != nil || got.String() != c.text) {
			t.Errorf("%s: got %v, %v, want it back", c.text, got, err)
		}
		if !c.ok && !errors.Is(err, protocol.ErrID) {
			t.Errorf("%s: got %v, want %v", c.text, err, protocol.ErrID)
		}
	}
}

func TestSeqRange(t *testing.T) {
	if got := (protocol.SeqRange{From: 3, To: 3}).Len(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestParseDeviceURN(t *testing.T) {
	vid, did, err := protocol.ParseDeviceURN("urn:dev:k7q4:tcu-a")
	if err != nil || vid != "k7q4" || did != "tcu-a" {
		t.Errorf("got %s, %s, %v", vid, did, err)
	}
	for _, bad := range []string{"", "urn:dev:", "urn:dev:a", "urn:dev::b", "urn:dev:a:", "urn:dev:a:b:c", "URN:dev:a:b", "urn:ops:a", "urn:dev:ops:b", " urn:dev:a:b"} {
		if _, _, err := protocol.ParseDeviceURN(bad); !errors.Is(err, protocol.ErrID) {
			t.Errorf("%q: got %v, want %v", bad, err, protocol.ErrID)
		}
	}
}

// FuzzMessageID: what parses is written back as it was.
func FuzzMessageID(f *testing.F) {
	f.Add("tcu-a.0100000000000000.90211")
	f.Add("t.0100000000000000.0")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := protocol.ParseMessageID(s); err == nil && id.String() != s {
			t.Errorf("got %q, want %q", id, s)
		}
	})
}
