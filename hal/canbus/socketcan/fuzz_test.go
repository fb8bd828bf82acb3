package socketcan_test

import (
	"errors"
	"strings"
	"testing"

	"telltale.dev/hal/canbus"
	"telltale.dev/hal/canbus/socketcan"
)

// FuzzParseURL: what is accepted names an interface that the kernel could have
// and options that fit together; what is not is a mistake of the configuration, in one line.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"can0", "socketcan:vcan0", "socketcan:can0?bitrate=500000&dbitrate=2000000&fd=on&restart=1s&buffer=1MiB",
		"socketcan:can0?listen-only=on", "socketcan:can0?send=0x123,0x18FEF100x", "socketcan:?", "can0?", "socketcan:can0?fd=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := socketcan.ParseURL(text)
		if err != nil {
			if !errors.Is(err, canbus.ErrConfig) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q: %q", text, err)
			}
			return
		}
		switch {
		case o.Interface == "" || len(o.Interface) > 15 || strings.ContainsAny(o.Interface, "/:? \n"):
			t.Fatalf("%q: interface %q", text, o.Interface)
		case o.DataBitrateHz > 0 && (!o.FD || o.DataBitrateHz < o.BitrateHz), o.ListenOnly && !o.Send.Nothing(), o.BitrateHz > 1_000_000:
			t.Fatalf("%q: %+v", text, o)
		}
		if again, err := socketcan.ParseURL(socketcan.Scheme + ":" + o.Interface); err != nil || again.Interface != o.Interface {
			t.Fatalf("%q: %+v, %v", o.Interface, again, err)
		}
	})
}
