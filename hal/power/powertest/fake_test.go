package powertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"telltale.dev/hal/power"
	"telltale.dev/hal/power/powertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	powertest.Run(t, true, func(*testing.T) (power.Supply, func(power.Ignition, time.Duration)) {
		f := powertest.NewFake(power.Off)
		return f, f.Set
	})
}

// TestFakeWakes: alarm, message and ignition each end the machine's sleep.
func TestFakeWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := powertest.NewFake(power.Off)
		began := time.Now()
		sleep := func(w power.Wake, wake func(), after time.Duration) {
			t.Helper()
			if err := f.Arm(w); err != nil {
				t.Fatal(err)
			}
			if wake != nil {
				time.AfterFunc(after, wake)
			}
			began = time.Now()
			if err := f.Suspend(); err != nil || time.Since(began) != after {
				t.Errorf("%+v: slept %v, %v, want %v", w, time.Since(began), err, after)
			}
		}
		sleep(power.Wake{At: time.Now().Add(time.Hour)}, nil, time.Hour)
		sleep(power.Wake{Modem: true}, f.Message, time.Minute)
		time.AfterFunc(time.Second, f.Message) // not armed: wakes nobody
		sleep(power.Wake{}, func() { f.Set(power.On, 0) }, time.Minute)
	})
}
