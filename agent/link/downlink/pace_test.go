package downlink_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale.dev/agent/link/downlink"
)

// TestFloodIsPaced: a server that sends without end does not wear out the flash.
func TestFloodIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) {
			c.Write = func(string, []byte) error { writes++; return nil }
		})
		began := time.Now()
		for i := range 1064 {
			r.send(campaigns, fmt.Sprint(i))
		}
		for len(r.answered()) < 1064 {
			time.Sleep(time.Second)
		}
		if passed := time.Since(began); passed < 100*time.Second || passed > 102*time.Second || writes != 1064 {
			t.Errorf("got %d writes in %v, want 64 at once and 10 a second", writes, passed)
		}
	})
}

// TestFloodOfBytesIsPaced: few large messages are bounded as many small ones are.
func TestFloodOfBytesIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) { c.Write = func(string, []byte) error { return nil } })
		began, large := time.Now(), strings.Repeat("x", 256<<10)
		for i := range 32 + 25 {
			r.send(campaigns, fmt.Sprint(i)+large)
		}
		for len(r.answered()) < 32+25 {
			time.Sleep(time.Second)
		}
		if passed := time.Since(began); passed < 99*time.Second || passed > 102*time.Second {
			t.Errorf("it took %v, want 8 MiB at once and 64 KiB a second", passed)
		}
	})
}

// TestFloodOfQoS0: messages that nobody acknowledges are in the pace, too, since whoever takes them writes. They are
// dropped beyond it, and hold up no others.
func TestFloodOfQoS0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		r := run(t, t.TempDir(), func(_ *rig, c *downlink.Config) {
			c.Write = func(string, []byte) error { writes++; return nil }
		})
		qos0 := func(m *downlink.Message) { m.QoS = 0 }
		for i := range 1000 {
			r.send(campaigns, fmt.Sprint(i), qos0)
			synctest.Wait()
		}
		r.send(unlock, "urgent")
		synctest.Wait()
		if got := r.took(); len(got) != 33 || got[32] != "urgent" || writes != 1 || r.Stats().Paced != 968 {
			t.Errorf("got %d taken, %d writes, %d dropped; want 32 and the urgent one at once", len(got), writes, r.Stats().Paced)
		}
		time.Sleep(time.Second)
		large := strings.Repeat("x", 256<<10)
		for range 10 {
			r.send(campaigns, large, qos0) // the same again is no document more, and costs no write
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		for i := range 30 {
			r.send(campaigns, fmt.Sprint(i)+large, qos0)
			synctest.Wait()
		}
		if got := len(r.took()); got != 33+10+15 || len(r.answered()) != 1 {
			t.Errorf("got %d taken, want another 10, and then the 15 that are less than 4 MiB", got)
		}
	})
}
