package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.golang/packets"

	"telltale.dev/cloud/broker"
)

// rawPacket is a packet of an accepted client, in bytes.
type rawPacket struct {
	name   string
	packet string // without the remaining length, which the test puts behind the first byte; "!" in front: as it is
	want   byte   // code of the DISCONNECT; 0: the connection lives on
}

const okTopic = "\x00\x0cv1/v/up/stat" // 12 letters; not in the tree, but well formed

// Parts of packets.
func publishWith(properties string) string {
	return "\x32" + okTopic + "\x00\x01" + string(rune(len(properties))) + properties + "x"
}

func subscribeWith(properties, options string) string {
	return "\x82\x00\x01" + string(rune(len(properties))) + properties + "\x00\x01a" + options
}

func rawPackets() []rawPacket {
	const malformed, protocol = 0x81, 0x82
	long := strings.Repeat("\x00", 300_000)
	return []rawPacket{
		{"PINGREQ", "\xc0", 0},
		{"PINGREQ with a body", "\xc0x", malformed},
		{"PINGREQ with flags", "\xc1", malformed},
		{"reserved type", "\x00", malformed},
		{"CONNACK", "\x20\x00\x00\x00", protocol},
		{"SUBACK", "\x90\x00\x01\x00\x01", protocol},
		{"UNSUBACK", "\xb0\x00\x01\x00\x00", protocol},
		{"PINGRESP", "\xd0", protocol},
		{"AUTH", "\xf0\x18\x00", protocol},
		{"AUTH of nothing", "\xf0", protocol},
		{"AUTH cut short", "\xf0\x18\x05", malformed},
		{"AUTH with data alone", "\xf0\x18\x04\x16\x00\x01x", protocol},
		{"remaining length of five bytes", "!\x32\xff\xff\xff\xff\x01", malformed},
		{"remaining length of five bytes, padded", "!\xc0\x80\x80\x80\x80\x00", malformed},
		{"remaining length not shortest", "!\xc0\x80\x00", malformed},
		{"too large", "\x32" + okTopic + "\x00\x01\x00" + long, 0x95},
		{"too large and not there", "!\x32\xff\xff\xff\x7f", 0x95},
		{"too large PINGREQ", "\xc0" + long, 0x95},

		{"PUBLISH", publishWith(""), 0},
		{"PUBLISH without a payload", "\x32" + okTopic + "\x00\x01\x00", 0},
		{"PUBLISH of QoS 0", "\x30" + okTopic + "\x00x", 0},
		{"PUBLISH of QoS 0 with DUP", "\x38" + okTopic + "\x00x", malformed},
		{"PUBLISH of QoS 2", "\x34" + okTopic + "\x00\x01\x00x", 0x9B},
		{"PUBLISH of QoS 3", "\x36" + okTopic + "\x00\x01\x00x", malformed},
		{"PUBLISH of QoS 3 with DUP and retain", "\x3f" + okTopic + "\x00\x01\x00x", malformed},
		{"PUBLISH with id 0", "\x32" + okTopic + "\x00\x00\x00x", protocol},
		{"PUBLISH without id", "\x32" + okTopic, malformed},
		{"PUBLISH without properties", "\x32" + okTopic + "\x00\x01", malformed},
		{"PUBLISH of nothing", "\x32", malformed},
		{"PUBLISH with a topic cut short", "\x32\x00\x09a", malformed},
		{"PUBLISH with bad UTF-8", "\x32\x00\x03a\xff/\x00\x01\x00x", malformed},
		{"PUBLISH with a surrogate", "\x32\x00\x03\xed\xa0\x80\x00\x01\x00x", malformed},
		{"PUBLISH with NUL", "\x32\x00\x03a\x00b\x00\x01\x00x", malformed},
		{"PUBLISH with a wildcard", "\x32\x00\x03a/+\x00\x01\x00x", protocol},
		{"PUBLISH without a topic", "\x32\x00\x00\x00\x01\x00x", protocol},
		{"PUBLISH with properties cut short", "\x32" + okTopic + "\x00\x01\x7fx", malformed},
		{"PUBLISH with a property length not shortest", "\x32" + okTopic + "\x00\x01\x80\x00x", malformed},
		{"payload format 0", publishWith("\x01\x00"), 0},
		{"payload format 1", publishWith("\x01\x01"), 0},
		{"payload format 2", publishWith("\x01\x02"), protocol},
		{"payload format 255", publishWith("\x01\xff"), protocol},
		{"payload format twice", publishWith("\x01\x00\x01\x00"), protocol},
		{"payload format without value", publishWith("\x01"), malformed},
		{"message expiry", publishWith("\x02\x00\x00\x00\x09"), 0},
		{"message expiry twice", publishWith("\x02\x00\x00\x00\x09\x02\x00\x00\x00\x09"), protocol},
		{"message expiry cut short", publishWith("\x02\x00\x00\x09"), malformed},
		{"content type twice", publishWith("\x03\x00\x01a\x03\x00\x01a"), protocol},
		{"content type with bad UTF-8", publishWith("\x03\x00\x01\xff"), malformed},
		{"content type with NUL", publishWith("\x03\x00\x01\x00"), malformed},
		{"content type beyond the properties", "\x32" + okTopic + "\x00\x01\x03\x03\x00\x01a", malformed},
		{"response topic twice", publishWith("\x08\x00\x01a\x08\x00\x01a"), protocol},
		{"response topic with +", publishWith("\x08\x00\x01+"), protocol},
		{"response topic with #", publishWith("\x08\x00\x03a/#"), protocol},
		{"correlation data", publishWith("\x09\x00\x02\x00\xff"), 0},
		{"correlation data twice", publishWith("\x09\x00\x00\x09\x00\x00"), protocol},
		{"user property twice", publishWith("\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01b"), 0},
		{"user property without value", publishWith("\x26\x00\x01a"), malformed},
		{"user property with bad UTF-8", publishWith("\x26\x00\x01a\x00\x01\xc0"), malformed},
		{"topic alias 0", publishWith("\x23\x00\x00"), 0x94},
		{"topic alias 33", publishWith("\x23\x00\x21"), 0x94},
		{"topic alias twice", publishWith("\x23\x00\x01\x23\x00\x01"), protocol},
		{"alias never set", "\x32\x00\x00\x00\x01\x03\x23\x00\x05x", 0x94},
		{"subscription identifier in PUBLISH", publishWith("\x0b\x01"), protocol},
		{"receive maximum in PUBLISH", publishWith("\x21\x00\x01"), malformed},
		{"reason string in PUBLISH", publishWith("\x1f\x00\x01a"), malformed},
		{"session expiry in PUBLISH", publishWith("\x11\x00\x00\x00\x00"), malformed},
		{"unknown property", publishWith("\x7f\x00"), malformed},
		{"property 0", publishWith("\x00\x00"), malformed},
		{"property of servers", publishWith("\x12\x00\x01a"), malformed},
		{"retained outside presence", "\x33\x00\x13v1/v/up/telemetry/c\x00\x01\x00x", 0x9A},
		{"retained outside presence, QoS 0", "\x31\x00\x13v1/v/up/telemetry/c\x00x", 0x9A},

		{"PUBACK of nothing", "\x40\x00\x05", 0},
		{"PUBACK with a reason", "\x40\x00\x05\x80", 0},
		{"PUBACK with properties", "\x40\x00\x05\x80\x04\x1f\x00\x01a", 0},
		{"PUBACK cut short", "\x40\x00", malformed},
		{"PUBACK with id 0", "\x40\x00\x00", protocol},
		{"PUBACK with reason string twice", "\x40\x00\x05\x80\x08\x1f\x00\x01a\x1f\x00\x01a", protocol},
		{"PUBACK with a foreign property", "\x40\x00\x05\x80\x02\x01\x00", malformed},
		{"PUBACK with bytes left", "\x40\x00\x05\x80\x00x", malformed},
		{"PUBACK with flags", "\x42\x00\x05", malformed},
		{"PUBREC", "\x50\x00\x05", protocol},
		{"PUBREL", "\x62\x00\x05", protocol},
		{"PUBREL without flags", "\x60\x00\x05", malformed},
		{"PUBCOMP", "\x70\x00\x05", protocol},

		{"SUBSCRIBE", subscribeWith("", "\x01"), 0},
		{"SUBSCRIBE with every option", subscribeWith("", "\x2d"), 0},
		{"SUBSCRIBE without flags", "\x80\x00\x01\x00\x00\x01a\x01", malformed},
		{"SUBSCRIBE with more flags", "\x83\x00\x01\x00\x00\x01a\x01", malformed},
		{"SUBSCRIBE with id 0", "\x82\x00\x00\x00\x00\x01a\x01", protocol},
		{"SUBSCRIBE without filters", "\x82\x00\x01\x00", protocol},
		{"SUBSCRIBE without options", "\x82\x00\x01\x00\x00\x01a", malformed},
		{"SUBSCRIBE without options of the second", subscribeWith("", "\x01\x00\x01b"), malformed},
		{"SUBSCRIBE with a filter cut short", "\x82\x00\x01\x00\x00\x05a", malformed},
		{"SUBSCRIBE with bad UTF-8", "\x82\x00\x01\x00\x00\x01\xff\x01", malformed},
		{"SUBSCRIBE with NUL", "\x82\x00\x01\x00\x00\x01\x00\x01", malformed},
		{"reserved option bit 6", subscribeWith("", "\x41"), malformed},
		{"reserved option bit 7", subscribeWith("", "\x81"), malformed},
		{"reserved option bits of the second filter", subscribeWith("", "\x01\x00\x01b\xc1"), malformed},
		{"retain handling 3", subscribeWith("", "\x31"), protocol},
		{"QoS 3 of a filter", subscribeWith("", "\x03"), protocol},
		{"no-local on a shared subscription", "\x82\x00\x01\x00\x00\x0a$share/g/a\x05", protocol},
		{"shared subscription", "\x82\x00\x01\x00\x00\x0a$share/g/a\x01", 0},
		{"subscription identifier", subscribeWith("\x0b\x07", "\x01"), 0},
		{"subscription identifier 0", subscribeWith("\x0b\x00", "\x01"), protocol},
		{"subscription identifier twice", subscribeWith("\x0b\x01\x0b\x02", "\x01"), protocol},
		{"subscription identifier of five bytes", subscribeWith("\x0b\xff\xff\xff\xff\x01", "\x01"), malformed},
		{"subscription identifier cut short", subscribeWith("\x0b\x80", "\x01"), malformed},
		{"payload format in SUBSCRIBE", subscribeWith("\x01\x00", "\x01"), malformed},
		{"UNSUBSCRIBE", "\xa2\x00\x01\x00\x00\x01a", 0},
		{"UNSUBSCRIBE without filters", "\xa2\x00\x01\x00", protocol},
		{"UNSUBSCRIBE with id 0", "\xa2\x00\x00\x00\x00\x01a", protocol},
		{"UNSUBSCRIBE without flags", "\xa0\x00\x01\x00\x00\x01a", malformed},
		{"UNSUBSCRIBE with an identifier", "\xa2\x00\x01\x02\x0b\x01\x00\x01a", malformed},
		{"UNSUBSCRIBE cut short", "\xa2\x00\x01\x00\x00\x05a", malformed},

		{"DISCONNECT with flags", "\xe1", malformed},
		{"DISCONNECT with bytes left", "\xe0\x00\x00x", malformed},
		{"DISCONNECT with expiry twice", "\xe0\x00\x0a\x11\x00\x00\x00\x00\x11\x00\x00\x00\x00", protocol},
		{"DISCONNECT with a foreign property", "\xe0\x00\x02\x01\x00", malformed},
		{"DISCONNECT with properties cut short", "\xe0\x00\x05\x11", malformed},
		{"DISCONNECT that raises the expiry", "\xe0\x00\x05\x11\x00\x00\x00\x09", protocol},
	}
}

// framed puts the remaining length behind the first byte.
func framed(packet string) string {
	if rest, ok := strings.CutPrefix(packet, "!"); ok {
		return rest
	}
	head := []byte{packet[0]}
	for n := len(packet) - 1; ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		if head = append(head, b); n == 0 {
			return string(head) + packet[1:]
		}
	}
}

// TestGrammar: what the standard forbids ends the connection with the code that it
// names, before the library sees it; what it allows does not.
func TestGrammar(t *testing.T) {
	s := start(t, &cloud{}, nil)
	config := s.ca.client("urn:dev:v:d")
	for _, c := range rawPackets() {
		t.Run(c.name, func(t *testing.T) {
			r, _ := s.join(config, connectPacket("d", nil))
			_, _ = r.Write([]byte(framed(c.packet)))
			if c.want != 0 {
				if got := r.closed(); got != c.want {
					t.Errorf("DISCONNECT: got %#02x, want %#02x", got, c.want)
				}
				return
			}
			r.send(paho.PINGREQ, &paho.Pingreq{})
			for pk := r.read(); pk.Type != paho.PINGRESP; pk = r.read() {
				if pk.Type == paho.DISCONNECT {
					t.Fatalf("DISCONNECT %#02x, want the connection to live", pk.Content.(*paho.Disconnect).ReasonCode)
				}
			}
		})
	}
	if got := s.Stats().Panics; got != 0 {
		t.Errorf("panics: got %d", got)
	}
}

// TestGrammarOf311: the same without a word, which MQTT 3.1.1 has not.
func TestGrammarOf311(t *testing.T) {
	s := start(t, &cloud{}, nil)
	config := s.ca.client("urn:dev:v:d")
	for name, c := range map[string]struct {
		packet string
		lives  bool
	}{
		"PUBLISH":                       {"\x32\x00\x13v1/v/up/telemetry/c\x00\x01x", true},
		"PUBLISH of QoS 3":              {"\x36\x00\x13v1/v/up/telemetry/c\x00\x01x", false},
		"PUBLISH too large":             {"\x32" + strings.Repeat("\x00", 300_000), false},
		"remaining length not shortest": {"!\xc0\x80\x00", true},
		"SUBSCRIBE":                     {"\x82\x00\x01\x00\x01a\x01", true},
		"SUBSCRIBE of QoS 3":            {"\x82\x00\x01\x00\x01a\x03", false},
		"SUBSCRIBE with options of 5":   {"\x82\x00\x01\x00\x01a\x09", false},
		"SUBSCRIBE without QoS":         {"\x82\x00\x01\x00\x01a", false},
		"PINGREQ with a body":           {"\xc0x", false},
		"DISCONNECT with a body":        {"\xe0\x00", false},
		"AUTH":                          {"\xf0", false},
		"PUBACK with a reason":          {"\x40\x00\x05\x00", false},
	} {
		r := s.dial(config)
		write(t, r, framed("\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d"))
		if got := readBytes(t, r.Conn, 4); got != "\x20\x02\x00\x00" {
			t.Fatalf("connack: got %x", got)
		}
		_, _ = r.Write([]byte(framed(c.packet) + "\xc0\x00"))
		_ = r.SetReadDeadline(time.Now().Add(patience))
		answer, _ := io.ReadAll(io.LimitReader(r, 2))
		if c.lives == (len(answer) == 0) {
			t.Errorf("%s: got answer %x, want one: %v", name, answer, c.lives)
		}
	}
}

// connectBytes is a CONNECT of MQTT 5 with flags and properties.
func connectBytes(flags byte, properties, rest string) string {
	return "\x10\x00\x04MQTT\x05" + string([]byte{flags, 0, 60, byte(len(properties))}) + properties + "\x00\x01d" + rest
}

// TestConnectGrammar: a CONNECT that is none gets a CONNACK in the form of its protocol level.
func TestConnectGrammar(t *testing.T) {
	s := start(t, &cloud{}, nil)
	config := s.ca.client("urn:dev:v:d")
	will := "\x00\x00\x01t\x00\x01p" // without properties
	for _, c := range []struct {
		name, packet string
		want         string // first bytes of the answer, of a CONNACK of 5 without its length; "": closed
	}{
		{"good", connectBytes(2, "", ""), "\x20\x00\x00"},
		{"every property", connectBytes(2, "\x11\x00\x00\x00\x01\x21\x00\x01\x22\x00\x01\x27\x00\x00\x10\x00\x17\x01\x19\x01\x26\x00\x01a\x00\x01b", ""), "\x20\x00\x00"},
		{"receive maximum 0", connectBytes(2, "\x21\x00\x00", ""), "\x20\x00\x82"},
		{"receive maximum twice", connectBytes(2, "\x21\x00\x01\x21\x00\x01", ""), "\x20\x00\x82"},
		{"maximum packet size 0", connectBytes(2, "\x27\x00\x00\x00\x00", ""), "\x20\x00\x82"},
		{"maximum packet size twice", connectBytes(2, "\x27\x00\x00\x10\x00\x27\x00\x00\x10\x00", ""), "\x20\x00\x82"},
		{"session expiry twice", connectBytes(2, "\x11\x00\x00\x00\x01\x11\x00\x00\x00\x02", ""), "\x20\x00\x82"},
		{"topic alias maximum twice", connectBytes(2, "\x22\x00\x01\x22\x00\x01", ""), "\x20\x00\x82"},
		{"request problem information 2", connectBytes(2, "\x17\x02", ""), "\x20\x00\x82"},
		{"request response information 2", connectBytes(2, "\x19\x02", ""), "\x20\x00\x82"},
		{"authentication method", connectBytes(2, "\x15\x00\x01X", ""), "\x20\x00\x8c"},
		{"authentication data without method", connectBytes(2, "\x16\x00\x01X", ""), "\x20\x00\x82"},
		{"empty authentication data without method", connectBytes(2, "\x16\x00\x00", ""), "\x20\x00\x82"},
		{"will delay outside the will", connectBytes(2, "\x18\x00\x00\x00\x01", ""), "\x20\x00\x81"},
		{"unknown property", connectBytes(2, "\x7f\x00", ""), "\x20\x00\x81"},
		{"property cut short", connectBytes(2, "\x21\x00", ""), "\x20\x00\x81"},
		{"bytes after the end", connectBytes(2, "", "x"), "\x20\x00\x81"},
		{"reserved flag", connectBytes(3, "", ""), "\x20\x00\x81"},
		{"will QoS without will", connectBytes(0x0a, "", ""), "\x20\x00\x81"},
		{"will retain without will", connectBytes(0x22, "", ""), "\x20\x00\x81"},
		{"will QoS 3", connectBytes(0x3e, "", will), "\x20\x00\x81"},
		{"will that is not there", connectBytes(0x2e, "", ""), "\x20\x00\x81"},
		{"will with payload format 2", connectBytes(0x2e, "", "\x02\x01\x02\x00\x01t\x00\x01p"), "\x20\x00\x82"},
		{"will delay twice", connectBytes(0x2e, "", "\x0a\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01\x00\x01t\x00\x01p"), "\x20\x00\x82"},
		{"user name that is not there", connectBytes(0x82, "", ""), "\x20\x00\x81"},
		{"password that is not there", connectBytes(0x42, "", ""), "\x20\x00\x81"},
		{"client identifier with NUL", "\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01\x00", "\x20\x00\x81"},
		{"client identifier with bad UTF-8", "\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01\xff", "\x20\x00\x81"},
		{"no client identifier", "\x10\x00\x04MQTT\x05\x02\x00\x3c\x00", "\x20\x00\x81"},
		{"flags of the fixed header", "\x11" + connectBytes(2, "", "")[1:], "\x20\x00\x81"},
		{"version 6", "\x10\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01d", "\x20\x00\x84"},
		{"version 255", "\x10\x00\x04MQTT\xff\x02\x00\x3c\x00\x00\x01d", "\x20\x00\x84"},
		{"another protocol", "\x10\x00\x04MQTX\x05\x02\x00\x3c\x00\x00\x01d", "\x20\x00\x84"},
		{"version 3 of MQIsdp", "\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01d", "\x20\x02\x00\x01"},
		{"version 3 of MQTT", "\x10\x00\x04MQTT\x03\x02\x00\x3c\x00\x01d", "\x20\x02\x00\x01"},
		{"version 0", "\x10\x00\x04MQTT\x00\x02\x00\x3c\x00\x01d", ""},
		{"too large", connectBytes(2, "", strings.Repeat("x", 300_000)), "\x20\x00\x95"},
		{"cut in the name", "\x10\x00\x04MQ", ""},
		{"nothing", "\x10", ""},
		{"3.1.1 with a reserved flag", "\x10\x00\x04MQTT\x04\x03\x00\x3c\x00\x01d", ""},
		{"3.1.1 with bytes after the end", "\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x01dx", ""},
		{"3.1.1 with a password alone", "\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01d\x00\x01p", ""},
		{"3.1.1 too large", "\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d" + strings.Repeat("x", 300_000), ""},
		{"PUBLISH first", publishWith(""), ""},
		{"PINGREQ first", "\xc0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.dial(config)
			_, _ = r.Write([]byte(framed(c.packet)))
			_ = r.SetReadDeadline(time.Now().Add(patience))
			if strings.HasPrefix(c.want, "\x20\x02") || c.want == "" {
				if got, _ := io.ReadAll(r); string(got) != c.want {
					t.Errorf("got %x, want %x and the end", got, c.want)
				}
				return
			}
			got := readBytes(t, r.Conn, 4)
			if got[:1]+got[2:] != c.want {
				t.Errorf("got %x, want %x behind the length", got, c.want)
			}
		})
	}
}

// TestDisconnectSaysWhy: in words, to clients that have the room for them.
func TestDisconnectSaysWhy(t *testing.T) {
	s := start(t, &cloud{}, nil)
	for size, want := range map[uint32]string{0: "PUBLISH has QoS 3, expected 0 to 2", 20: ""} {
		r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) {
			if size > 0 {
				c.Properties.MaximumPacketSize = &size
			}
		}))
		write(t, r, framed("\x36"+okTopic+"\x00\x01\x00x"))
		d, ok := r.read().Content.(*paho.Disconnect)
		if !ok || d.ReasonCode != 0x81 || d.Properties.ReasonString != want {
			t.Errorf("maximum packet size %d: got %+v, want 0x81 and %q", size, d, want)
		}
	}
}

// TestKeepAliveTimeoutSaysSo (section 4.13).
func TestKeepAliveTimeoutSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t, &cloud{}, nil)
	r, _ := s.join(s.ca.client("urn:dev:v:d"), connectPacket("d", func(c *paho.Connect) { c.KeepAlive = 1 }))
	if got := r.closed(); got != 0x8D {
		t.Errorf("got %#x, want 0x8d", got)
	}
}

// FuzzGrammar: what is let through is what the library can read, too, and every fault has a code.
func FuzzGrammar(f *testing.F) {
	for _, c := range rawPackets() {
		if !strings.HasPrefix(c.packet, "!") && len(c.packet) < 1000 {
			f.Add(byte(5), []byte(c.packet))
			f.Add(byte(4), []byte(c.packet))
		}
	}
	f.Add(byte(0), []byte(connectBytes(0x2e, "\x21\x00\x01", "\x00\x00\x01t\x00\x01p")))
	f.Fuzz(func(t *testing.T, version byte, packet []byte) {
		if len(packet) == 0 || version != 0 && version != 4 && version != 5 {
			return
		}
		original := bytes.Clone(packet)
		code, decoded := broker.CheckAndDecode(version, packet)
		if code == 0 && decoded != nil {
			t.Errorf("let through, but the library says %v", decoded)
		}
		if code != 0 && code < 0x80 {
			t.Errorf("code %#x, want one of 0x80 or above", code)
		}
		if !bytes.Equal(packet, original) {
			t.Error("the packet was changed")
		}
	})
}

// TestPropertiesAreForwarded: what one client sends with a message the others get, unchanged.
func TestPropertiesAreForwarded(t *testing.T) {
	handler := &cloud{}
	s := start(t, handler, nil)
	handler.publish = func(p broker.Publish, done func(byte)) {
		done(0)
		s.Deliver(broker.Message{Topic: p.Topic.String(), Payload: p.Payload, ContentType: p.ContentType, User: p.User,
			Format: p.Format, Response: p.Response, Correlation: p.Correlation, QoS: p.QoS})
	}
	ops, device := s.operator("anna"), s.device("v", "d")
	ops.subscribe(paho.SubOptions{Topic: "v1/v/up/#", QoS: 1})
	for i, format := range []byte{0, 1} {
		device.send(paho.PUBLISH, &paho.Publish{QoS: byte(i), PacketID: uint16(i), Topic: "v1/v/up/telemetry/c", Payload: []byte("x"), Properties: &paho.Properties{
			PayloadFormat: &format, ContentType: "text/x", ResponseTopic: "v1/v/up/event/answer", CorrelationData: []byte{0, 0xff},
			User: []paho.User{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}},
		}})
		m := ops.message()
		p := m.Properties
		if m.QoS != byte(i) {
			t.Errorf("QoS: got %d, want that of the publish, %d", m.QoS, i)
		}
		if p.PayloadFormat == nil || *p.PayloadFormat != format || p.ContentType != "text/x" || p.ResponseTopic != "v1/v/up/event/answer" ||
			string(p.CorrelationData) != "\x00\xff" || fmt.Sprint(p.User) != "[{b 1} {a 2} {b 3}]" {
			t.Errorf("got %+v, want the properties as they were sent", p)
		}
	}
}
