package gpio_test

import (
	"strings"
	"testing"
	"time"

	"telltale.dev/hal/power/gpio"
)

func TestParse(t *testing.T) {
	got, err := gpio.Parse("/dev/gpiochip0?line=17&shutdown=27&notice=10s&active-low=on&debounce=50ms")
	want := gpio.Config{Chip: "/dev/gpiochip0", Ignition: 17, Shutdown: 27, Notice: 10 * time.Second, ActiveLow: true, Debounce: 50 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for text, says := range map[string]string{
		"":                                           "expected a device with its line",
		"?line=1":                                    "expected a device with its line",
		"/dev/gpiochip0":                             "expected a line, such as /dev/gpiochip0?line=17",
		"/dev/gpiochip0?line=x":                      `line: expected a number from 0, found "x"`,
		"/dev/gpiochip0?line=-1":                     "line: expected a number from 0",
		"/dev/gpiochip0?pin=1":                       "pin: expected one of line, shutdown",
		"/dev/gpiochip0?line=1&active-low=no":        "active-low: expected on or off",
		"/dev/gpiochip0?line=1&debounce=1h":          "debounce: expected a time such as 50ms, at most 10s",
		"/dev/gpiochip0?line=1&shutdown=2":           "expected shutdown and notice together",
		"/dev/gpiochip0?line=1&line=2":               "line: expected once",
		"/dev/gpiochip0?line=1&shutdown=1&notice=9s": "shutdown: expected another line than 1, the ignition's",
		"/dev/gpiochip0?line=1&shutdown=2&notice=0s": "notice: expected a time such as 10s",
	} {
		if _, err := gpio.Parse(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
}
