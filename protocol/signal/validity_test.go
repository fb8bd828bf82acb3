package signal_test

import (
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/signal"
)

// TestJ1939: which raw values of which lengths are no measurements.
func TestJ1939(t *testing.T) {
	const not, bad, ok = signal.NotAvailable, signal.Faulty, signal.Valid
	for _, c := range []struct {
		bits int
		raw  uint64
		want signal.Validity
	}{
		{1, 0, ok}, {1, 1, ok},
		{2, 0, ok}, {2, 1, ok}, {2, 2, bad}, {2, 3, not},
		{3, 6, ok}, {3, 7, not}, {4, 0xE, ok}, {4, 0xF, not}, {5, 30, ok}, {5, 31, not}, {7, 127, not},
		{8, 0, ok}, {8, 250, ok}, {8, 253, ok}, {8, 254, bad}, {8, 255, not},
		{9, 510, ok}, {9, 511, not},
		{10, 0x3FD, ok}, {10, 0x3FE, bad}, {10, 0x3FF, not},
		{11, 0x7FE, ok}, {11, 0x7FF, not},
		{12, 0xFDF, ok}, {12, 0xFE0, bad}, {12, 0xFEF, bad}, {12, 0xFF0, not}, {12, 0xFFF, not},
		{16, 0xFAFF, ok}, {16, 0xFDFF, ok}, {16, 0xFE00, bad}, {16, 0xFEFF, bad}, {16, 0xFF00, not}, {16, 0xFFFF, not},
		{19, 1<<19 - 1, not}, {19, 1<<19 - 2, ok},
		{20, 0xFE000, bad}, {20, 0xFFFFF, not}, {24, 0xFDFFFF, ok}, {24, 0xFE0000, bad}, {24, 0xFF0000, not},
		{32, 0xFAFFFFFF, ok}, {32, 0xFE000000, bad}, {32, 0xFEFFFFFF, bad}, {32, 0xFF000000, not}, {32, 0xFFFFFFFF, not},
		{40, 0xFE_0000_0000, ok}, {40, 0xFF_FFFF_FFFF, not},
		{64, 0xFE00_0000_0000_0000, ok}, {64, ^uint64(0), not}, {64, 1 << 63, ok},
	} {
		s := signal.Signal{CAN: &signal.Bits{ID: can.Extended, J1939: true, Length: c.bits}}
		if got := s.Validity(int64(c.raw)); got != c.want {
			t.Errorf("%d bits, %#x: got %q, want %q", c.bits, c.raw, got, c.want)
		}
		for name, other := range map[string]signal.Signal{
			"no J1939": {CAN: &signal.Bits{Length: c.bits}},
			"signed":   {Signed: true, CAN: &signal.Bits{J1939: true, Length: c.bits}},
			"float":    {IEEE: 32, CAN: &signal.Bits{J1939: true, Length: c.bits}},
			"no CAN":   {},
		} {
			if got := other.Validity(int64(c.raw)); got != ok {
				t.Errorf("%s, %d bits, %#x: got %q, want a value", name, c.bits, c.raw, got)
			}
		}
	}
}

// TestJ1939Named: a value that the value table names is a state, unless the name says otherwise.
func TestJ1939Named(t *testing.T) {
	for _, c := range []struct {
		raw  int64
		text string
		want signal.Validity
	}{
		{3, "Not available", signal.NotAvailable}, {3, "NOT_AVAILABLE", signal.NotAvailable}, {3, "Don't care/take no action", signal.NotAvailable},
		{2, "Error", signal.Faulty}, {2, "Error indicator", signal.Faulty}, {2, "Fault", signal.Faulty},
		{3, "NotAvailable", signal.NotAvailable}, {3, "notavailable", signal.NotAvailable}, {3, "not avail.", signal.NotAvailable}, {3, "Unavailable", signal.NotAvailable},
		{3, "N/A", signal.NotAvailable}, {3, "n/a (reserved)", signal.NotAvailable}, {3, "Not supported", signal.NotAvailable}, {3, "NoAction", signal.NotAvailable},
		{3, "dont care", signal.NotAvailable}, {3, "No, not available", signal.NotAvailable},
		{3, "On/Auto", signal.Valid}, {3, "Down/above", signal.Valid}, {3, "Reno action", signal.Valid}, {3, "Available", signal.Valid},
		{2, "err", signal.Faulty}, {2, "ERR_1", signal.Faulty}, {2, "Faulty", signal.Faulty}, {2, "Sensor faults", signal.Faulty}, {2, "Invalid", signal.Faulty},
		{2, "SensorError", signal.Faulty}, {2, "ADCError", signal.Faulty}, {2, "SENSOR_FAULT", signal.Faulty}, {2, "Sensor2Error", signal.Faulty}, {2, "Größe/Error", signal.Faulty},
		{2, "Default", signal.Valid}, {2, "Interrupted", signal.Valid}, {2, "Preferred", signal.Valid}, {2, "Terrain mode", signal.Valid}, {2, "Deferred", signal.Valid},
		{2, "No error", signal.Valid}, {2, "NO_FAULT", signal.Valid}, {2, "Error free", signal.Valid}, {2, "", signal.Valid}, {2, "-", signal.Valid},
		{2, "Torque control", signal.Valid}, {3, "Speed/torque limit control", signal.Valid}, {3, "Error", signal.Valid}, {1, "Not available", signal.Valid},
	} {
		s := signal.Signal{CAN: &signal.Bits{J1939: true, Length: 2}, Values: map[int64]string{c.raw: c.text}}
		if got := s.Validity(c.raw); got != c.want {
			t.Errorf("%d %q: got %q, want %q", c.raw, c.text, got, c.want)
		}
	}
}
