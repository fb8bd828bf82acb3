package uboot_test

import (
	"reflect"
	"testing"

	"telltale.dev/hal/slots"
	"telltale.dev/hal/slots/uboot"
)

func TestParse(t *testing.T) {
	want := uboot.Config{State: "s", Images: map[slots.Slot]string{slots.A: "1", slots.B: "2"}, Booted: slots.B}
	if got, err := uboot.Parse("a=1,booted=B,state=s,b=2"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for text, want := range map[string]string{
		"state=s,state=t": "expected state= once",
		"c=1":             `expected state=, a=, b= and booted=, found "c=1"`,
		",":               `expected state=, a=, b= and booted=, found ""`,
	} {
		if _, err := uboot.Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
