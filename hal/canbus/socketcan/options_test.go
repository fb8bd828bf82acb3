package socketcan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
	"telltale.dev/protocol/can"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		url  string
		want socketcan.Options
	}{
		{"can0", socketcan.Options{Interface: "can0"}},
		{"socketcan:vcan0", socketcan.Options{Interface: "vcan0"}},
		{"socketcan:can1?bitrate=500000", socketcan.Options{Interface: "can1", BitrateHz: 500_000}},
		{"socketcan:can1?bitrate=500000&restart=1s", socketcan.Options{Interface: "can1", BitrateHz: 500_000, Restart: time.Second}},
		{"socketcan:can1?bitrate=500000&dbitrate=2000000&fd=on", socketcan.Options{Interface: "can1", BitrateHz: 500_000, DataBitrateHz: 2_000_000, FD: true}},
		{"socketcan:can1?listen-only=on&fd=off&send=off&buffer=1MiB", socketcan.Options{Interface: "can1", ListenOnly: true, Buffer: 1 << 20}},
	}
	for _, c := range tests {
		got, err := socketcan.ParseURL(c.url)
		if err != nil || !got.Send.Nothing() {
			t.Errorf("%s: %+v, %v", c.url, got, err)
			continue
		}
		got.Send, c.want.Send = canbus.Permission{}, canbus.Permission{}
		if got.Interface != c.want.Interface || got.BitrateHz != c.want.BitrateHz || got.DataBitrateHz != c.want.DataBitrateHz ||
			got.FD != c.want.FD || got.ListenOnly != c.want.ListenOnly || got.Restart != c.want.Restart || got.Buffer != c.want.Buffer {
			t.Errorf("%s: got %+v, want %+v", c.url, got, c.want)
		}
	}
	o, err := socketcan.ParseURL("socketcan:can0?send=0x123,0x18FEF100x")
	if err != nil || !o.Send.Allows(&can.Frame{ID: 0x18FEF100 | can.Extended}) || o.Send.Allows(&can.Frame{ID: 0x124}) {
		t.Errorf("send: got %+v, %v", o.Send, err)
	}
}

func TestParseURLErrors(t *testing.T) {
	tests := []struct{ url, want string }{
		{"", "expected the name of an interface"},
		{"socketcan:", "expected the name of an interface"},
		{"an-interface-too-long", "1 to 15 bytes"},
		{"can 0", "expected the name of an interface"},
		{"can0?bitrate=500000", "expected an interface such as can0, or socketcan:can0?bitrate=500000"},
		{"slcan:can0", "expected an interface such as can0"},
		{"socketcan:can0?speed=5", "option speed: unknown; there are bitrate"},
		{"socketcan:can0?bitrate=fast", "option bitrate: expected 1000 to 1000000 bit/s"},
		{"socketcan:can0?bitrate=2000000", "option bitrate: expected 1000 to 1000000 bit/s"},
		{"socketcan:can0?dbitrate=2000000", "option dbitrate: expected together with bitrate and fd=on"},
		{"socketcan:can0?bitrate=500000&fd=on&dbitrate=250000", "option dbitrate: expected at least the bitrate, 500000"},
		{"socketcan:can0?fd=yes", "option fd: expected on or off"},
		{"socketcan:can0?listen-only=on&send=on", "option send: expected off"},
		{"socketcan:can0?send=291", "option send: expected on, off or identifiers"},
		{"socketcan:can0?restart=1s", "option restart: expected together with bitrate"},
		{"socketcan:can0?restart=1h&bitrate=500000", "option restart: expected 1ms to 1m"},
		{"socketcan:can0?buffer=1KiB", "option buffer: expected 16KiB to 256MiB"},
		{"socketcan:can0?fd=on&fd=on", "option fd: expected once"},
		{"socketcan:can0?fd=%zz", "invalid URL escape"},
	}
	for _, c := range tests {
		_, err := socketcan.ParseURL(c.url)
		if !errors.Is(err, canbus.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.url, err, c.want)
		}
	}
}
